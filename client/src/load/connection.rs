//! One connection that does as little as it can: HTTP/1.1, one request at a time.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::LoadError;

pub(super) struct Connection {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(super) async fn open(host: &str) -> Result<Self, LoadError> {
        let failed = |reason: String| LoadError::Connection { host: host.to_owned(), reason };
        let stream = TcpStream::connect(host).await.map_err(|error| failed(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| failed(error.to_string()))?;
        // Its errors come out of the requests on it.
        tokio::spawn(connection);
        Ok(Self { host: host.to_owned(), sender })
    }

    /// Sends a body and reads the whole answer: status and body.
    pub(super) async fn post(&mut self, path: &str, body: Bytes) -> Result<(u16, Bytes), LoadError> {
        let host = self.host.clone();
        let failed = |reason: String| LoadError::Connection { host: host.clone(), reason };
        let request = Request::post(path).header(header::HOST, &self.host).body(Full::new(body));
        let request = request.map_err(|error| failed(error.to_string()))?;
        let response = self.sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        let status = response.status().as_u16();
        let answer = response.into_body().collect().await.map_err(|error| failed(error.to_string()))?;
        Ok((status, answer.to_bytes()))
    }
}
