//! A log in an S3-compatible store.
//!
//! Credentials come from the environment alone. Nothing is ever sent twice by the client itself: of a create whose answer
//! is lost nobody knows what became, and that is for recovery to find out.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use object_store::{
    ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
    client::SpawnedReqwestConnector,
    path::Path,
    prefix::PrefixStore,
};
use tokio::runtime::Runtime;

use super::{Created, Objects, StoreError};
use crate::config::StoreConfig;

/// The object by which a store shows that it does not create what is there.
const PROBE: &str = "probe";

/// The longest that one call may take. Tombstones stand many times as long.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Opens a store, after making sure that it creates objects only where there are none.
pub(super) fn open(config: &StoreConfig) -> Result<Objects, StoreError> {
    let objects = Objects::shared(connect(config)?);
    // The first time it is made, and the second time it has to be found.
    for _ in 0..2 {
        if objects.create(PROBE, Bytes::from_static(b"counterfoil-probe/v1\n"))? == Created::Found {
            return Ok(objects);
        }
    }
    Err(StoreError::NotExclusive { url: config.url.clone() })
}

/// The store of a configuration; nothing is asked of it yet.
pub fn connect(config: &StoreConfig) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let url = || config.url.clone();
    let (bucket, prefix) = config.bucket_and_prefix().ok_or_else(|| StoreError::StoreUrl { url: url() })?;
    let background = background().map_err(|source| StoreError::Background { source })?;
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&config.region)
        .with_access_key_id(variable("AWS_ACCESS_KEY_ID")?)
        .with_secret_access_key(variable("AWS_SECRET_ACCESS_KEY")?)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_bulk_delete(true)
        .with_client_options(ClientOptions::new().with_timeout(TIMEOUT))
        .with_retry(retry)
        .with_http_connector(SpawnedReqwestConnector::new(background.handle().clone()));
    if let Ok(token) = variable("AWS_SESSION_TOKEN") {
        builder = builder.with_token(token);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    let store = builder.build().map_err(|source| StoreError::Object { name: url(), source })?;
    Ok(if prefix.is_empty() {
        Arc::new(store)
    } else {
        Arc::new(PrefixStore::new(store, Path::from(prefix)))
    })
}

fn variable(name: &'static str) -> Result<String, StoreError> {
    std::env::var(name).map_err(|_| StoreError::Credential { name })
}

/// Where calls are made: those who wait for them are on threads of their own.
fn background() -> io::Result<&'static Runtime> {
    static BACKGROUND: OnceLock<Runtime> = OnceLock::new();
    if let Some(background) = BACKGROUND.get() {
        return Ok(background);
    }
    let made = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("s3")
        .enable_all()
        .build()?;
    Ok(BACKGROUND.get_or_init(|| made))
}
