//! A proxy from its configuration to its end.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, http::header, routing::get};
use counterfoil_receipt::{
    SigningKey, Timestamp,
    draft::Sealed,
    exchange,
    key::KeyError,
    statement::{GroupName, Issuer, Origin, StreamId, groups::Accountable},
};
use hyper::header::HeaderName;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

use super::{
    app::{Bounds, Proxy, Retry, Service, now},
    background,
    bodies::{Bodies, Term},
    budget::Budget,
    config::{Config, ConfigError, Keep},
    deliver::{Work, Worker},
    live::Live,
    metrics::Metrics,
    promise::Promises,
    push::Push,
    recorder::Policy,
    routes::Routes,
    serve,
    spool::{
        Opening, Spool, SpoolError,
        state::Duties,
        writer::{Keeping, Sweep},
    },
    upstream::Upstream,
};
use crate::{
    file::{self, FileError},
    serve::Limits,
    submit::Submitter,
};

const KEY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a segment of the spool.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// The longest time that one segment of the spool is written to, and with that what expired stays on the disk.
const SEGMENT_TIME_MAX: Duration = Duration::from_secs(3600);

/// How long a stopping proxy waits for receipts to reach the log.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(10);

/// A proxy that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where `/metrics` and `/healthz` are.
    pub admin: Option<SocketAddr>,
    proxy: Arc<Proxy>,
    spool: Spool,
    drain: Duration,
    stop_accepting: oneshot::Sender<()>,
    stop_exchanges: watch::Sender<bool>,
    stop_work: watch::Sender<bool>,
    serving: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Starts a proxy whose receipts go to `log` through `submitter`.
pub async fn start(config: &Config, log: Origin, submitter: Submitter) -> Result<Running, StartError> {
    let key = SigningKey::from_pkcs8_pem(&file::read_text(&config.key, KEY_BYTES_MAX)?)?;
    let issuer = Issuer {
        key: key.public().clone(),
        software: Some(concat!("counterfoil/", env!("CARGO_PKG_VERSION")).to_owned()),
    };
    let metrics = Arc::new(Metrics::new());
    let (listener, admin) = listen(config).await?;
    let promises = config.receipt.promise_within_s.map(|within_s| Promises {
        log: log.clone(),
        issuer: issuer.clone(),
        key: key.clone(),
        within_ms: within_s.saturating_mul(1000),
    });
    let (spool, writer) = open_spool(config, &log, key)?;
    let mut threads = vec![writer];
    let bodies = open_bodies(&config.keep, &metrics, &mut threads)?;
    let (stop_exchanges, stop) = watch::channel(false);
    let proxy = Arc::new(Proxy {
        routes: Routes::new(config.routes()),
        services: services(config)?,
        policy: policy(config, log, issuer),
        mode: config.mode,
        promises,
        stream_comment: config.receipt.stream_comment,
        credential_headers: credential_headers(config)?,
        keep_ms: config.keep.exchanges_s.saturating_mul(1000),
        retry: Retry { attempts: config.retry.attempts, statuses: config.retry.statuses.clone() },
        bounds: bounds(config),
        spool: spool.clone(),
        bodies,
        memory: Budget::new(config.limits.memory_bytes_max),
        live: Live::default(),
        metrics: Arc::clone(&metrics),
        stop,
    });
    let address = listener.local_addr().map_err(StartError::listen(Some(config.listen)))?;
    let admin_address = admin.as_ref().and_then(|admin| admin.local_addr().ok());
    let (stop_work, stopped) = watch::channel(false);
    let mut workers = vec![tokio::spawn(sweep(Arc::clone(&proxy), stopped.clone()))];
    for work in work(config, submitter) {
        let (spool, metrics, name) = (spool.clone(), Arc::clone(&metrics), work.name());
        let worker = Worker { spool, work, metrics }.run(stopped.clone());
        workers.push(background::run(name, worker).map_err(StartError::Thread)?);
    }
    if let Some(admin) = admin {
        workers.push(tokio::spawn(administer(admin, Arc::clone(&proxy), stopped)));
    }
    let (stop_accepting, stopping) = oneshot::channel();
    let limits = config.limits;
    let (most, head_timeout) = (limits.connections_max, Duration::from_secs(limits.head_timeout_s));
    let until = async move { drop(stopping.await) };
    let serving = serve::serve(listener, Arc::clone(&proxy), most, head_timeout, until);
    let (serving, drain) = (tokio::spawn(serving), Duration::from_secs(limits.drain_timeout_s));
    Ok(Running {
        address,
        admin: admin_address,
        proxy,
        spool,
        drain,
        stop_accepting,
        stop_exchanges,
        stop_work,
        serving,
        workers,
        threads,
    })
}

impl Running {
    /// Ends in order: exchanges come to their end or are broken off, all of them with receipts; what is in the spool goes to
    /// the log, as far as that answers.
    pub async fn stop(self) {
        let Self { proxy, spool, drain, serving, workers, threads, .. } = self;
        let _ = self.stop_accepting.send(());
        if timeout(drain, proxy.live.none()).await.is_err() {
            warn!(exchanges = proxy.live.count(), "exchanges are broken off");
        }
        let _ = self.stop_exchanges.send(true);
        if timeout(drain, proxy.live.none()).await.is_err() {
            error!(exchanges = proxy.live.count(), "exchanges did not end");
        }
        serving.abort();
        let _ = serving.await;
        let _ = self.stop_work.send(true);
        let all = async {
            for worker in workers {
                let _ = worker.await;
            }
        };
        if timeout(DELIVERY_PATIENCE, all).await.is_err() {
            info!(receipts = spool.status().undelivered, "receipts stay in the spool until the next start");
        }
        drop((proxy, spool));
        // Tasks that were broken off may hold the spool a moment longer; its thread ends with the last of them.
        let joined =
            tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = timeout(DELIVERY_PATIENCE, joined).await;
    }
}

async fn listen(config: &Config) -> Result<(TcpListener, Option<TcpListener>), StartError> {
    let listener = TcpListener::bind(config.listen).await.map_err(StartError::listen(Some(config.listen)))?;
    let admin = match config.admin {
        Some(address) => Some(TcpListener::bind(address).await.map_err(StartError::listen(config.admin))?),
        None => None,
    };
    Ok((listener, admin))
}

fn open_spool(
    config: &Config,
    log: &Origin,
    key: SigningKey,
) -> Result<(Spool, std::thread::JoinHandle<()>), StartError> {
    let (mut fresh, mut secret) = ([0; 16], [0; 32]);
    getrandom::fill(&mut fresh).and_then(|()| getrandom::fill(&mut secret)).map_err(StartError::Random)?;
    // An exchange stays on the disk no longer than an eighth of its time beyond it.
    let segment_ms = (config.keep.exchanges_s.saturating_mul(1000) / 8)
        .clamp(1000, u64::try_from(SEGMENT_TIME_MAX.as_millis()).unwrap_or(u64::MAX));
    let opening = Opening {
        folder: &config.spool,
        log,
        key,
        fresh: StreamId::new(fresh),
        secret,
        bytes_max: config.keep.spool_bytes_max,
        keeping: Keeping {
            segment_bytes: SEGMENT_BYTES.min(config.keep.spool_bytes_max / 8),
            segment_ms,
            duties: Duties { push: config.push.is_some() },
        },
    };
    let (spool, thread) = Spool::open(opening)?;
    let waiting = spool.status().undelivered;
    if waiting > 0 {
        info!(receipts = waiting, "receipts of a former run wait in the spool");
    }
    Ok((spool, thread))
}

fn open_bodies(
    keep: &Keep,
    metrics: &Arc<Metrics>,
    threads: &mut Vec<std::thread::JoinHandle<()>>,
) -> Result<Option<Bodies>, StartError> {
    let Some(folder) = &keep.bodies else { return Ok(None) };
    let term = Term { time: Duration::from_secs(keep.bodies_s), bytes_max: keep.bodies_bytes_max };
    let (bodies, thread) = Bodies::open(folder, term, Arc::clone(metrics))?;
    threads.push(thread);
    Ok(Some(bodies))
}

fn services(config: &Config) -> Result<Vec<Service>, ConfigError> {
    let connect_timeout = Duration::from_secs(config.limits.connect_timeout_s);
    let place = |name: &String| config.upstream.iter().position(|upstream| upstream.name == *name);
    let routes = config.routes();
    let made = config.upstream.iter().zip(routes).map(|(table, route)| {
        Ok(Service {
            upstream: Upstream::new(table, connect_timeout)?,
            route,
            claimed: table.claimed.as_ref().map(super::config::UpstreamClaim::claimed),
            fallback: table.fallback.iter().filter_map(place).collect(),
        })
    });
    made.collect()
}

fn policy(config: &Config, log: Origin, issuer: Issuer) -> Policy {
    let receipt = &config.receipt;
    // The times of attempts give away how long the answer was.
    let sealed = Sealed::default().with(GroupName::Attempts);
    let sealed = receipt.seal.iter().fold(sealed, |sealed, &group| sealed.with(group));
    let accountable = receipt
        .accountable
        .as_ref()
        .map(|table| Accountable { key: table.key.clone(), respond_within: table.respond_within_s });
    Policy {
        log,
        issuer,
        sealed: receipt.open.iter().fold(sealed, |sealed, &group| sealed.without(group)),
        accountable,
        aliases: receipt.aliases.clone(),
        contents: receipt.contents,
        limits: exchange::Limits {
            body: config.limits.answer_bytes_max,
            event: config.limits.answer_bytes_max,
            content: receipt.content_bytes_max,
        },
    }
}

fn credential_headers(config: &Config) -> Result<Vec<HeaderName>, ConfigError> {
    let names = config.receipt.credential_headers.iter().map(|name| {
        let wrong = |_| ConfigError::Value { what: format!("{name:?} is no header's name") };
        name.parse::<HeaderName>().map_err(wrong)
    });
    names.collect()
}

const fn bounds(config: &Config) -> Bounds {
    let limits = &config.limits;
    Bounds {
        request_bytes: limits.request_bytes_max,
        idle: Duration::from_secs(limits.idle_timeout_s),
        answer: Duration::from_secs(limits.answer_timeout_s),
        exchange: Duration::from_secs(limits.exchange_timeout_s),
    }
}

fn work(config: &Config, submitter: Submitter) -> Vec<Work> {
    let push = config.push.as_ref().map(|push| {
        Work::Push(Push {
            folder: push.folder.clone(),
            command: push.command.clone(),
            timeout: Duration::from_secs(push.timeout_s),
            scratch: config.spool.clone(),
        })
    });
    std::iter::once(Work::Deliver(submitter)).chain(push).collect()
}

/// Removes what has expired, once a second.
async fn sweep(proxy: Arc<Proxy>, mut stop: watch::Receiver<bool>) {
    for second in 1_u64.. {
        tokio::select! {
            () = sleep(Duration::from_secs(1)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let now = now();
        let expired = Timestamp::from_millis(now.millis().saturating_sub(proxy.keep_ms)).unwrap_or(now);
        if let Err(error) = proxy.spool.sweep(Sweep { expired, now }).await {
            error!(error = &error as &dyn std::error::Error, "the spool cannot be swept");
        }
        if let Some(bodies) = proxy.bodies.as_ref().filter(|_| second % 60 == 0) {
            bodies.sweep().await;
        }
    }
}

/// `/metrics` and `/healthz`, where no caller comes.
async fn administer(listener: TcpListener, proxy: Arc<Proxy>, mut stop: watch::Receiver<bool>) {
    const METRICS: [(HeaderName, &str); 1] =
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let metrics = {
        let proxy = Arc::clone(&proxy);
        move || async move { (METRICS, proxy.print_metrics()) }
    };
    let health = move || async move { super::answer::health(proxy.is_well()).map(axum::body::Body::new) };
    let router = Router::new().route("/metrics", get(metrics)).route("/healthz", get(health));
    crate::serve::serve(listener, router, Limits::default(), async move {
        drop(stop.wait_for(|stop| *stop).await);
    })
    .await;
}

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The issuer's key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

impl StartError {
    fn listen(address: Option<SocketAddr>) -> impl FnOnce(io::Error) -> Self {
        let address = address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        move |source| Self::Listen { address, source }
    }
}
