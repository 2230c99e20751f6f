//! Running a log: wires everything together, and ends it in order.

use std::{
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use counterfoil_receipt::{key::Signer, statement::Origin};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{error, info, warn};

use crate::{
    admission::Refusals,
    clock::{Clock, ClockError},
    config::{Config, ConfigError, Limits},
    driver::Driver,
    guard::{Guard, GuardError},
    http::{
        App, Part,
        front::Front,
        serve::serve,
        surface::{Surface, SurfaceError},
    },
    index::runs::Runs,
    log::{Log, Status},
    metrics::Metrics,
    objects::{Objects, StoreError},
    pace::Pace,
    publish::{
        Identity, PublishError, Publisher,
        ask::Reach,
        clock_record::ClockRecords,
        handle::{PublishLoop, Setup, StartError},
        heads::Heads,
        panel::{Panel, PanelError},
        shown::EvidencePlace,
    },
    room::Room,
    rules::WantedRules,
    scrub::Scrubber,
    search::follow::{Follower, Indexed},
    signers::{Signers, SignersError},
};

/// Connections that operators may have open.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// A log whose threads run: it is being found again, and then written to. Nobody serves it.
pub struct Started {
    /// The log.
    pub log: Arc<Log>,
    metrics: Arc<Metrics>,
    rules: Arc<WantedRules>,
    /// Signs refusals, if there is a key to sign them with, until [`Started::app`] takes it.
    pub refusals: Option<Refusals>,
    /// Its name.
    pub origin: Origin,
    /// What is found, if this log keeps a search index.
    indexed: Option<Arc<Indexed>>,
    follower: Option<Follower>,
    scrubber: Option<Scrubber>,
    driver: Option<thread::JoinHandle<bool>>,
}

impl Started {
    /// What answers requests to it.
    pub fn app(&mut self, config: &Config, surface: &Surface) -> Arc<App> {
        let (log, metrics) = (Arc::clone(&self.log), Arc::clone(&self.metrics));
        let (refusals, indexed) = (self.refusals.take(), self.indexed.clone());
        Arc::new(App::new(log, metrics, config, Arc::clone(&surface.access), refusals, indexed))
    }

    /// Ends it in order: what waits is still sequenced, and all that is due is settled. Whether that could be done.
    pub fn stop(self) -> bool {
        self.log.queue.shut_down();
        if let Some(follower) = self.follower {
            follower.finish();
        }
        if let Some(scrubber) = self.scrubber {
            scrubber.finish();
        }
        let in_order = self.driver.is_none_or(|driver| driver.join().unwrap_or(false));
        self.log.close_index();
        in_order
    }
}

/// Where connections are taken.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// From everybody.
    pub public: SocketAddr,
    /// From operators, if they have an address of their own.
    pub admin: Option<SocketAddr>,
}

/// Runs a log until a signal says stop. `ready` is called with the bound addresses once connections are taken.
pub fn run(config: &Config, confirm_clock: bool, ready: impl FnOnce(Bound)) -> Result<(), RunError> {
    let surface = Arc::new(Surface::read(config)?);
    let mut started = start(config, confirm_clock)?;
    let app = started.app(config, &surface);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Thread)?;
    let served = runtime.block_on(listen(config, app, Arc::clone(&started.rules), surface, ready));
    let in_order = started.stop();
    served?;
    if in_order { Ok(()) } else { Err(RunError::Stopped) }
}

/// Starts a log's threads. Where its guard cannot be used, what is published can still be read, and nothing is written.
pub fn start(config: &Config, confirm_clock: bool) -> Result<Started, RunError> {
    let objects = Arc::new(Objects::of(config)?);
    let Signers { log: log_key, clock: clock_key, operator } = Signers::open(config)?;
    let publisher = Publisher::new(log_key, clock_key, config.log_vkey()?, config.clock_vkey()?)?;
    let origin: Origin = config.log_vkey()?.name().as_str().parse().map_err(|_| RunError::Origin)?;
    let witnesses = witnesses(config, publisher.identity(), operator.clone())?;
    let rules = Arc::new(WantedRules::new(origin.clone(), operator.clone(), &config.admission)?);
    let refusals = operator.map(|key| Refusals { log: origin.clone(), key });
    if refusals.is_none() {
        warn!("no operator_key_file: refusals are not signed");
    }
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
                let (pace, room) = (Pace::default(), Room::new(config.limits.free_bytes_min));
                let driver =
                    Driver { log, guard, heads, evidence, clock, clock_gap_max, room, rules, metrics, pace };
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
    let indexed = config.search.enabled.then(Arc::<Indexed>::default);
    let follower = match &indexed {
        Some(indexed) => {
            let (log, indexed, metrics) = (Arc::clone(&log), Arc::clone(indexed), Arc::clone(&metrics));
            Some(Follower::start(log, indexed, &config.search, metrics).map_err(RunError::Thread)?)
        }
        None => None,
    };
    let scrubber =
        Scrubber::start(Arc::clone(&log), &config.scrub, Arc::clone(&metrics)).map_err(RunError::Thread)?;
    Ok(Started { log, metrics, rules, refusals, origin, indexed, follower, scrubber, driver })
}

/// How the log publishes with witnesses, if its policy names any.
fn witnesses(
    config: &Config,
    identity: &Identity,
    operator: Option<Arc<dyn Signer>>,
) -> Result<Option<Setup>, RunError> {
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
    let clock_records = match operator {
        Some(key) if table.clock_record_period_s > 0 => {
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
    surface: Arc<Surface>,
    ready: impl FnOnce(Bound),
) -> Result<(), RunError> {
    let (listener, address) = bind(config.listen).await?;
    let admin = match config.admin {
        Some(admin) => Some(bind(admin).await?),
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Thread)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Thread)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(RunError::Thread)?;
    let reloads = {
        let (log, surface, path) = (Arc::clone(&app.log), Arc::clone(&surface), config.path.clone());
        tokio::spawn(async move {
            while hang_up.recv().await.is_some() {
                let config = match Config::read(&path) {
                    Ok(config) => config,
                    Err(error) => {
                        warn!(%error, "the configuration was not read again; the rules stay, and all else");
                        continue;
                    }
                };
                match rules.set(&config.admission) {
                    Ok(()) => {
                        info!("who may append was read again");
                        log.queue.interrupt();
                    }
                    Err(error) => warn!(%error, "who may append was not read again; the rules stay"),
                }
                surface.read_again(&config);
            }
        })
    };
    let bound = Bound { public: address, admin: admin.as_ref().map(|(_, address)| *address) };
    ready(bound);
    info!(%address, "listening");
    let (stopping, stopped) = watch::channel(());
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
        drop(stopping);
    };
    let part = if admin.is_some() { Part::Public } else { Part::Whole };
    let public = serve(
        listener,
        Front::new(Arc::clone(&app), part),
        &config.limits,
        &config.proxies,
        surface.tls.as_ref(),
        stop,
    );
    let operators = async {
        if let Some((listener, address)) = admin {
            info!(%address, "listening for operators");
            let limits = Limits { connections_max: ADMIN_CONNECTIONS_MAX, ..config.limits.clone() };
            let mut stopped = stopped;
            // An error says that there is nothing more to come: the other address is being left too.
            let stop = async { while stopped.changed().await.is_ok() {} };
            serve(listener, Front::new(app, Part::Admin), &limits, &[], None, stop).await;
        }
    };
    tokio::join!(public, operators);
    reloads.abort();
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Why a log does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A value of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Tokens, certificate or key cannot be used.
    #[error(transparent)]
    Surface(#[from] SurfaceError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The guard is held by another process.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A private key cannot be used.
    #[error(transparent)]
    Signers(#[from] SignersError),
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
        address: SocketAddr,
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
