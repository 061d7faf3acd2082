//! A daemon's life: build, listen, serve, reload, drain.

use crate::access::Doorman;
use crate::access::clients::ClientFile;
use crate::admin::survey;
use crate::alerts::{self, Alerts, OverKeeper};
use crate::config::Config;
use crate::connect::Couriers;
use crate::follow;
use crate::listen::{Certificates, ListenError, Listeners, Serving};
use crate::problem::Advise;
use crate::shared::Shared;
use perennial::Keeper;
use perennial::clock::SystemClock;
use perennial::http::{self, Http};
use perennial::scheduler::{self, Scheduler};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a daemon is made of.
pub struct Parts {
    /// What it was told.
    pub config: Config,
    /// What keeps its grants.
    pub keeper: Arc<Keeper>,
    /// What is done about errors: see [`plain_advice`](crate::plain_advice).
    pub advise: Box<Advise>,
    /// How webhooks and API hosts are reached: trust, names, proxies.
    pub http: http::Options,
    /// What the commands in alerts name.
    pub hints: alerts::Place,
    /// Where things lie about which the configuration says nothing.
    pub places: Places,
}

/// Where things lie about which the configuration says nothing.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The unix socket.
    pub socket: Option<PathBuf>,
    /// The file of client keys.
    pub clients: Option<PathBuf>,
    /// The alerts that have not been delivered.
    pub outbox: Option<PathBuf>,
}

/// So long alerts may take to be delivered when everything else has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Grants are kept alive also where nobody can be told: an outbox that cannot be used is no reason not to start.
fn start_alerts(
    config: &Config,
    watched: Arc<OverKeeper>,
    http: &http::Options,
    outbox: PathBuf,
    place: alerts::Place,
) -> Option<Alerts> {
    let http = Arc::new(Http::new(http.clone()));
    let parts = alerts::Parts { watched, http, clock: Arc::new(SystemClock), outbox, place };
    match Alerts::start(&config.alerts, parts) {
        Ok(alerts) => Some(alerts),
        Err(error) if config.alerts.to.is_empty() => {
            tracing::debug!(%error, "no alerts");
            None
        }
        Err(error) => {
            tracing::error!(%error, "nobody is told of trouble until the daemon starts anew");
            None
        }
    }
}

/// Alerts hear which connections have changed.
fn tell(alerts: &Arc<Option<Alerts>>) -> impl Fn(&[String]) + Send + Sync + 'static {
    let alerts = Arc::clone(alerts);
    move |names| {
        if let Some(alerts) = &*alerts {
            alerts.changed(names.iter().cloned());
        }
    }
}

/// Why a daemon did not start, or did not take a new configuration over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It could not listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something that the configuration names is not there, or is wrong.
    #[error("{0}")]
    Config(String),
}

/// A daemon at work.
pub struct Daemon {
    shared: Arc<Shared>,
    alerts: Arc<Option<Alerts>>,
    certificates: Certificates,
    serving: Serving,
    stop: watch::Sender<bool>,
    duties: Vec<JoinHandle<()>>,
    places: Vec<String>,
    addresses: Vec<SocketAddr>,
}

impl Daemon {
    /// Opens what it listens on, and begins to serve and to keep alive. Needs a runtime of several threads.
    ///
    /// # Errors
    /// When something that the configuration names is not to be had; then nothing has begun.
    pub fn start(parts: Parts) -> Result<Self, Refused> {
        let Parts { config, keeper, advise, http, hints, places } = parts;
        let file = config.access.clients.clone().or(places.clients).map(ClientFile::at);
        let doorman = Doorman::new(&config, file).map_err(Refused::Config)?;
        let certificates = Certificates::read(&config.listen).map_err(Refused::Config)?;
        let listeners = Listeners::open(&config.listen, places.socket.as_deref())?;
        let options =
            scheduler::Options { per_server: config.keep_alive.at_a_time, ..scheduler::Options::default() };
        let keeps_alive = config.keep_alive.enabled;
        let scheduler = Arc::new(Scheduler::new(Arc::clone(&keeper), options));
        let watched = Arc::new(OverKeeper::new(Arc::clone(&keeper), Arc::new(SystemClock)));
        let outbox = config.alerts.outbox.clone().or(places.outbox);
        let couriers = Couriers::start(outbox.clone(), Arc::new(Http::new(http.clone())), &config);
        let alerts = match outbox {
            Some(outbox) => start_alerts(&config, watched, &http, outbox, hints),
            None => None,
        };
        let alerts = Arc::new(alerts);
        let shared =
            Arc::new(Shared::new(keeper, Arc::clone(&scheduler), config, doorman, advise, http, couriers));

        let (stop, stopped) = watch::channel(false);
        let (names, addresses) = (listeners.places(), listeners.addresses());
        let mut duties = Vec::new();
        let mut begin = |name, duty: JoinHandle<()>| {
            shared.health.relies_on(name, &duty);
            duties.push(duty);
        };
        let follow = follow::follow(Arc::clone(&shared), tell(&alerts));
        begin("what follows the store", tokio::spawn(follow));
        begin("what looks at the agenda", tokio::spawn(survey::go_on(Arc::clone(&shared))));
        begin("what counts refresh tokens", tokio::spawn(survey::count_ends(Arc::clone(&shared))));
        if keeps_alive {
            let (scheduler, mut stopped) = (Arc::clone(&scheduler), stopped.clone());
            shared.health.has_a_pulse();
            let run = async move {
                scheduler.run(async move { drop(stopped.wait_for(|stop| *stop).await) }).await;
            };
            begin("the scheduler", tokio::spawn(run));
        }
        let serving = listeners.serve(&shared, &certificates, &stopped);
        serving.tasks().for_each(|task| shared.health.relies_on("a listener", task));
        Ok(Self { shared, alerts, certificates, serving, stop, duties, places: names, addresses })
    }

    /// Where it listens, in words.
    #[must_use]
    pub fn places(&self) -> &[String] {
        &self.places
    }

    /// The TCP addresses that it listens on.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes a new configuration over, and client keys and certificates as they are now. Nothing that is under way is
    /// dropped. What needs a restart (the store, what it listens on) is told, and stays as it was.
    ///
    /// # Errors
    /// When something in it is wrong; then nothing has changed.
    pub fn reload(&self, config: Config) -> Result<Vec<&'static str>, Refused> {
        let before = self.shared.config();
        self.certificates.reload(&config.listen).map_err(Refused::Config)?;
        self.shared.doorman.reload(&config).map_err(Refused::Config)?;
        self.shared.doorman.look_for_keys();
        let listens = |config: &Config| (config.listen.unix.clone(), config.listen.tcp.clone());
        let keeps =
            |config: &Config| (config.store.clone(), config.master_key.clone(), config.tenant.clone());
        let changed = [
            ("store, master_key, tenant", keeps(&before) != keeps(&config)),
            ("listen.unix, listen.tcp", listens(&before) != listens(&config)),
            ("access.clients", before.access.clients != config.access.clients),
            ("alerts", self.alerts.is_none() && !config.alerts.to.is_empty()),
            ("keep_alive", before.keep_alive != config.keep_alive),
            (
                "limits.sockets, limits.resident",
                before.limits.sockets != config.limits.sockets
                    || before.limits.resident != config.limits.resident,
            ),
        ];
        if let Some(alerts) = &*self.alerts {
            alerts.reload(&config.alerts);
        }
        self.shared.connect.reload(&config);
        self.shared.put_config(config);
        Ok(changed.into_iter().filter(|(_, changed)| *changed).map(|(what, _)| what).collect())
    }

    /// Accepts nothing more, lets what is under way end within `limits.drain`, and sees refreshes down. True when all of
    /// it ended in time; a refresh that did not leaves its note in the store.
    pub async fn drain(mut self) -> bool {
        self.shared.health.draining.store(true, Ordering::Relaxed);
        let patience = self.shared.config().limits.drain.0;
        let _ = self.stop.send(true);
        self.shared.sign_ins.end();
        let ended = tokio::time::timeout(patience, async {
            self.serving.ended().await;
            self.shared.all_seen_through().await;
            self.shared.keeper.landed().await;
        });
        let in_time = ended.await.is_ok();
        for duty in std::mem::take(&mut self.duties) {
            duty.abort();
            let _ = duty.await;
        }
        self.shared.connect.couriers().stop(LAST_WORDS).await;
        if let Some(Some(alerts)) = Arc::into_inner(self.alerts) {
            alerts.stop(LAST_WORDS).await;
        }
        self.shared.doorman.put_uses();
        in_time
    }

    /// True while its duties go on and its scheduler goes round: what a watchdog is told.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.shared.health.ended(self.rounds()).is_empty()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How often its scheduler has gone round.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.shared.scheduler.load().rounds
    }
}
