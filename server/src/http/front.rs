//! What holds for every request of an address, whatever answers it: an id, a count of what is refused, headers for browsers and
//! caches, and no panic that gets out.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    RequestExt as _, Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use tower::ServiceExt as _;
use tracing::{debug, error};

use super::{
    App, INCLUSION, Part, RECEIPTS,
    error::{ApiError, Code},
    read,
    request_id::X_REQUEST_ID,
    router, submit,
};

/// For browsers: nothing here is a page, whatever it looks like, and nobody is told who led there.
pub(crate) const HARDENING: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Answers the requests of one address. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    app: Arc<App>,
    part: Part,
    router: Router,
}

impl Front {
    /// Answers for a part of the routes.
    pub fn new(app: Arc<App>, part: Part) -> Self {
        let router = router(&app, part);
        Self { app, part, router }
    }

    /// The answer to a request.
    pub async fn answer(self, request: Request) -> Response {
        let id = self.app.request_ids.of(request.headers());
        let answered = AssertUnwindSafe(self.find(request)).catch_unwind().await;
        let mut response = answered.unwrap_or_else(|_| ApiError::Panicked.into_response());
        self.count(&response, &id);
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, id);
        for (name, value) in HARDENING {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.entry(header::CACHE_CONTROL).or_insert(read::NO_STORE);
        response
    }

    /// Single appends, hash tiles and inclusion proofs do not go through the router: they are nearly all that a busy log is asked for,
    /// and boxes, clones and captures on the way would cost each of them some 4 us.
    async fn find(&self, mut request: Request) -> Response {
        let (path, app) = (request.uri().path(), || State(Arc::clone(&self.app)));
        match *request.method() {
            _ if self.part == Part::Admin => {}
            Method::POST if path == RECEIPTS => return submit::one(app(), request).await.into_response(),
            Method::GET if path == INCLUSION => {
                let query = request.extract_parts().await.map(|query| read::inclusion(app(), query));
                return match query {
                    Ok(answer) => answer.await.into_response(),
                    Err(refused) => refused.into_response(),
                };
            }
            Method::GET => {
                if let Some(tile) = read::hash_tile(path) {
                    return read::tile_at(&self.app, tile).await.into_response();
                }
            }
            _ => {}
        }
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }

    fn count(&self, response: &Response, id: &HeaderValue) {
        let Some(Code(code)) = response.extensions().get().copied() else { return };
        self.app.metrics.rejected(code);
        let request = id.to_str().unwrap_or_default();
        // What callers do wrong is for them to know, and no reason to fill a log.
        if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
            error!(request, code, "a request was answered with an error");
        } else {
            debug!(request, code, "a request was refused");
        }
    }
}
