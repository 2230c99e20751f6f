//! Running a log: wires everything together, and ends it in order.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use counterfoil_receipt::statement::Origin;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info, warn};

use crate::{
    admission::Refusals,
    clock::{Clock, ClockError},
    config::{Config, ConfigError},
    driver::Driver,
    guard::{Guard, GuardError},
    http::{self, App, serve::serve},
    index::runs::Runs,
    keyfile::{self, KeyFileError},
    log::{Log, Status},
    metrics::Metrics,
    objects::{Objects, StoreError},
    publish::{
        Identity, PublishError, Publisher,
        ask::Reach,
        clock_record::ClockRecords,
        handle::{PublishLoop, Setup, StartError},
        heads::Heads,
        panel::{Panel, PanelError},
        shown::EvidencePlace,
    },
    rules::WantedRules,
};

/// Runs a log until a signal says stop. `ready` is called with the bound address once connections are taken.
pub fn run(
    config: &Config,
    confirm_clock: bool,
    ready: impl FnOnce(std::net::SocketAddr),
) -> Result<(), RunError> {
    let objects = Arc::new(Objects::open(&config.data)?);
    let publisher = Publisher::new(
        keyfile::read_signer(&config.log_key_file)?,
        keyfile::read_signer(&config.clock_key_file)?,
        config.log_vkey()?,
        config.clock_vkey()?,
    )?;
    let origin: Origin = config.log_vkey()?.name().as_str().parse().map_err(|_| RunError::Origin)?;
    let operator = config.operator_key_file.as_deref().map(keyfile::read_operator).transpose()?;
    let rules = Arc::new(WantedRules::new(origin.clone(), operator.clone(), &config.admission)?);
    let refusals = operator.map(|key| Refusals { log: origin, key });
    if refusals.is_none() {
        warn!("no operator_key_file: refusals are not signed");
    }
    let witnesses = witnesses(config, publisher.identity())?;
    let log = Arc::new(Log::new(objects, open_index(config), config.limits.queue_max));
    let metrics = Arc::new(Metrics::new());
    let clock_gap_max =
        if confirm_clock { Duration::MAX } else { Duration::from_secs(config.limits.clock_gap_max_s) };
    let driver = {
        let (log, metrics, rules) = (Arc::clone(&log), Arc::clone(&metrics), Arc::clone(&rules));
        let clock = Clock::start()?;
        match Guard::open(&config.guard) {
            Ok(guard) => {
                let guard = Arc::new(Mutex::new(guard));
                let heads = match witnesses {
                    None => Heads::Alone(Box::new(publisher)),
                    Some(setup) => {
                        let (log, metrics) = (Arc::clone(&log), Arc::clone(&metrics));
                        Heads::Witnessed(Box::new(PublishLoop::start(setup, log, publisher, metrics)?))
                    }
                };
                let evidence = EvidencePlace::beside(&config.data);
                let driver = Driver { log, guard, heads, evidence, clock, clock_gap_max, rules, metrics };
                let thread = thread::Builder::new().name("sequence".into());
                Some(thread.spawn(move || driver.run()).map_err(RunError::Thread)?)
            }
            Err(error @ GuardError::InUse { .. }) => return Err(error.into()),
            // Without a guard nothing is signed; what is published can still be read.
            Err(error) => {
                error!(%error, "writing is refused; reads go on");
                if let Err(error) = log.show_stored(publisher.identity()) {
                    error!(%error, "what was published before cannot be shown");
                }
                log.set_status(Status::Stopped { reason: error.to_string() });
                None
            }
        }
    };
    let app = Arc::new(App::new(Arc::clone(&log), metrics, config, refusals));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Thread)?;
    let served = runtime.block_on(listen(config, app, rules, ready));
    log.queue.shut_down();
    let in_order = driver.is_none_or(|driver| driver.join().unwrap_or(false));
    log.close_index();
    served?;
    if in_order { Ok(()) } else { Err(RunError::Stopped) }
}

/// How the log publishes with witnesses, if its policy names any.
fn witnesses(config: &Config, identity: &Identity) -> Result<Option<Setup>, RunError> {
    let (Some(table), Some(policy)) = (&config.witnesses, config.witness_policy()?) else { return Ok(None) };
    let Some(panel) = Panel::new(policy, identity, &table.monitoring)
        .map_err(|error| RunError::Panel { path: table.policy.clone(), error })?
    else {
        warn!(policy = %table.policy.display(), "the policy names no witness with a URL: this log publishes alone");
        return Ok(None);
    };
    let authorities = table
        .authorities
        .as_ref()
        .map(|path| fs::read(path).map_err(|source| ConfigError::Read { path: path.clone(), source }));
    let clock_records = match &config.operator_key_file {
        Some(path) if table.clock_record_period_s > 0 => {
            let key = keyfile::read_operator(path)?;
            let log = identity.origin.as_str().parse().map_err(|_| RunError::Origin)?;
            Some(ClockRecords::new(log, key, Duration::from_secs(table.clock_record_period_s)))
        }
        _ => None,
    };
    Ok(Some(Setup {
        panel,
        period: Duration::from_millis(table.period_ms),
        reach: Reach {
            timeout: Duration::from_millis(table.timeout_ms),
            authorities: authorities.transpose()?,
        },
        evidence: EvidencePlace::beside(&config.data),
        clock_records,
    }))
}

/// The index on disk. A log runs without one: it only starts more slowly.
fn open_index(config: &Config) -> Option<Runs> {
    match Runs::open(&config.index) {
        Ok((runs, doubt)) => {
            if let Some(doubt) = doubt {
                warn!(%doubt, "the index is made again from the entries");
            }
            Some(runs)
        }
        Err(error) => {
            warn!(%error, "the index cannot be used; the log runs without one");
            None
        }
    }
}

async fn listen(
    config: &Config,
    app: Arc<App>,
    rules: Arc<WantedRules>,
    ready: impl FnOnce(std::net::SocketAddr),
) -> Result<(), RunError> {
    let bind = |source| RunError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Thread)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Thread)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(RunError::Thread)?;
    let reloads = {
        let (log, path) = (Arc::clone(&app.log), config.path.clone());
        tokio::spawn(async move {
            while hang_up.recv().await.is_some() {
                match Config::read(&path).and_then(|config| rules.set(&config.admission)) {
                    Ok(()) => {
                        info!("who may append was read again");
                        log.queue.interrupt();
                    }
                    Err(error) => warn!(%error, "who may append was not read again; the rules stay"),
                }
            }
        })
    };
    ready(address);
    info!(%address, "listening");
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
    };
    serve(listener, http::router(app), &config.limits, stop).await;
    reloads.abort();
    Ok(())
}

/// Why a log does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A value of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The guard is held by another process.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A private key cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The keys do not belong together.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The time cannot be believed.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The log cannot publish under the policy of its witnesses.
    #[error("witnesses.policy: {}: {error}", path.display())]
    Panel {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: PanelError,
    },
    /// The publish loop cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The name of the log's key is not an origin.
    #[error("log_key: its name is not an origin")]
    Origin,
    /// The address cannot be listened on.
    #[error("listening on {address}: {source}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system gave no thread or signal.
    #[error("starting: {0}")]
    Thread(io::Error),
    /// The log ended with its state unknown, or writing had stopped.
    #[error("the log did not end in order")]
    Stopped,
}
