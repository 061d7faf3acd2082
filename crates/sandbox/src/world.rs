//! What all connections of one sandbox share.

use crate::centres::{Here, Homes};
use crate::codes::Codes;
use crate::config::{Config, Expire};
use crate::device::Devices;
use crate::faults::Faults;
use crate::ids::{Ids, Seed};
use crate::jwt::Signer;
use crate::ledger::{Ledger, Principal};
use crate::otp::Mailroom;
use crate::stats::Counters;
use crate::users::Users;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) app_id: String,
    pub(crate) client_secret: String,
    pub(crate) company_uuid: String,
    pub(crate) users: Users,
    pub(crate) access_lifetime: Duration,
    pub(crate) signer: &'static Signer,
    pub(crate) counters: Counters,
    base_uris: Vec<String>,
    homes: Mutex<Homes>,
    ledger: Mutex<Ledger>,
    codes: Mutex<Codes>,
    mailroom: Mutex<Mailroom>,
    devices: Mutex<Devices>,
    faults: Mutex<Faults>,
    token_ids: Mutex<Ids>,
    correlation_ids: Mutex<Ids>,
}

/// The first digits of every sandbox's App ID, so that its credentials cannot be taken for real ones.
pub(crate) const APP_ID_MARK: &str = "5a4db0c5";

impl World {
    /// One base URI for each data centre, of which there is at least one.
    pub(crate) fn new(config: Config, base_uris: Vec<String>, seed: &Seed, signer: &'static Signer) -> World {
        let mut identity = seed.stream("identity");
        World {
            config: config.clone(),
            base_uris: base_uris.clone(),
            homes: Mutex::new(Homes::new(base_uris, config.migrated)),
            app_id: format!("{APP_ID_MARK}{}", &identity.next()[APP_ID_MARK.len()..]),
            client_secret: identity.next(),
            company_uuid: identity.next(),
            users: Users::new(seed),
            access_lifetime: config.access_lifetime,
            signer,
            counters: Counters::default(),
            ledger: Mutex::new(Ledger::new(config.clone(), seed)),
            codes: Mutex::new(Codes::new(seed)),
            mailroom: Mutex::new(Mailroom::new(seed)),
            devices: Mutex::new(Devices::new(&config, seed)),
            faults: Mutex::default(),
            token_ids: Mutex::new(seed.stream("jti")),
            correlation_ids: Mutex::new(seed.stream("correlation")),
        }
    }

    pub(crate) fn homes(&self) -> MutexGuard<'_, Homes> {
        locked(&self.homes)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.ledger)
    }

    pub(crate) fn codes(&self) -> MutexGuard<'_, Codes> {
        locked(&self.codes)
    }

    pub(crate) fn mailroom(&self) -> MutexGuard<'_, Mailroom> {
        locked(&self.mailroom)
    }

    pub(crate) fn devices(&self) -> MutexGuard<'_, Devices> {
        locked(&self.devices)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        locked(&self.faults)
    }

    /// The base URI of the centre that a request came to.
    pub(crate) fn base_uri(&self, here: Here) -> &str {
        &self.base_uris[here.0]
    }

    /// The identifier in the `sub` of the principal's tokens.
    pub(crate) fn subject(&self, principal: Principal) -> &str {
        match principal {
            Principal::Company => &self.company_uuid,
            Principal::App => &self.app_id,
            Principal::User(number) => &self.users.all()[number].uuid,
        }
    }

    pub(crate) fn token_id(&self) -> String {
        locked(&self.token_ids).next()
    }

    pub(crate) fn correlation_id(&self) -> String {
        locked(&self.correlation_ids).next()
    }

    pub(crate) fn mint_request_token(&self, for_other_app: bool) -> String {
        self.ledger().mint_request_token(now(), for_other_app)
    }

    pub(crate) fn expire(&self, what: Expire) {
        match what {
            Expire::Code => self.codes().expire(),
            Expire::DeviceCode => self.devices().expire(),
            Expire::Otp => self.mailroom().expire(),
            _ => self.ledger().expire(what),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
