//! A service behind TLS.

use std::{
    fs,
    io::{self, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use crate::{
    http::Http,
    upstream::{Asked, read},
};

/// A certificate of `data/tls`: `authority` signed `localhost` and `elsewhere`, and did not sign `stranger`.
pub fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tls").join(format!("{name}.pem"))
}

/// A connection to a service, if it shows a certificate of the tests' authority for that name.
///
/// # Panics
/// If the tests' own certificate or the name cannot be read.
pub fn connect(address: SocketAddr, name: &str) -> io::Result<Http> {
    let authority = CertificateDer::from_pem_file(certificate("authority")).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a server's name");
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_nodelay(true)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(Http::over(StreamOwned::new(connection, stream)))
}

/// A service that is listening, on 127.0.0.1.
pub struct Secured {
    /// Where it is.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Secured {
    /// Starts a service that shows the certificate of that name. `answer` writes what it answers.
    ///
    /// # Panics
    /// If nothing can listen, or the certificate is none.
    pub fn start(
        name: &str,
        answer: impl Fn(&Asked, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let pem = fs::read(certificate(name)).expect("a certificate");
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_slice(&pem).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
        let config = Arc::new(config.expect("a certificate and its key"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (asked, answer) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(answer));
        let all = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, answer, all) = (Arc::clone(&config), Arc::clone(&answer), Arc::clone(&all));
                thread::spawn(move || {
                    // Whoever does not trust it leaves; the test sees that nothing was asked.
                    let _ = serve(stream, config, &*answer, &all);
                });
            }
        });
        Self { address, asked }
    }

    /// Its URL by name.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answer: &(dyn Fn(&Asked, &mut dyn Write) -> io::Result<()> + Send + Sync),
    all: &Mutex<Vec<Asked>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(asked) = read(&mut reader)? {
        all.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        answer(&asked, reader.get_mut())?;
    }
    Ok(())
}
