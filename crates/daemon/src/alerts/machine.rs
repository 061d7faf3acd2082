//! The rules about the daemon itself: authorization servers, the store, the clock.

use super::alert::{self, Alert};
use super::condition::{Level, Manner, Tell};
use super::rules::{Rules, Told};
use super::seen::{Server, Vitals};
use crate::config::AlertEvent;
use perennial::core::UnixTime;
use perennial::core::time::Skew;
use serde_json::{Map, Value, json};

/// An open breaker lasts 15 s at least; two of them in a row are no blip.
const SERVER_GRACE: i64 = 60;
/// A disk that is being made room on, a database that changes its primary.
const STORE_GRACE: i64 = 30;
/// A second reading must have agreed by then (law 11).
const CLOCK_GRACE: i64 = 60;

/// A condition of the daemon itself.
struct Machine {
    event: AlertEvent,
    key: String,
    label: String,
    is_so: bool,
    /// It must last so many seconds.
    grace: i64,
    data: Map<String, Value>,
    text: String,
    hint: String,
}

impl Rules {
    pub(super) fn vitals(&mut self, vitals: &Vitals, now: UnixTime) -> Vec<Alert> {
        let failing = vitals.servers.iter().filter(|server| server.fails);
        self.failing = failing.map(|server| server.origin.clone()).collect();
        let doctor = format!("to see what is wrong: {}", self.place.all("doctor"));
        let mut conditions: Vec<_> = vitals.servers.iter().map(|server| server_is(server, &doctor)).collect();
        conditions.push(store_is(vitals.store_fault.as_deref(), doctor));
        conditions.push(clock_is(vitals.clock_ahead));
        conditions.into_iter().filter_map(|condition| self.machine(condition, now)).collect()
    }

    fn machine(&mut self, machine: Machine, now: UnixTime) -> Option<Alert> {
        if !self.wanted.event(machine.event) {
            return None;
        }
        let level = machine.is_so.then(|| Level { rank: 1, label: machine.label.clone() });
        let manner = Manner { grace: machine.grace, steady: false };
        let tell = self.step(&machine.key, None, level, manner, now);
        let mut data = machine.data;
        data.insert("tenant".to_owned(), json!(self.place.tenant));
        let hint = (tell == Tell::Began).then_some(machine.hint);
        let Machine { event, key, label, text, .. } = machine;
        self.told(Told { event, key: &key, tell, connection: None, label, data, text, hint }, now)
    }
}

fn server_is(server: &Server, doctor: &str) -> Machine {
    let origin = &server.origin;
    let text = match server.fails {
        true => format!("{origin} fails for all connections; one probe at a time goes on asking it"),
        false => format!("{origin} answers again"),
    };
    Machine {
        event: AlertEvent::ServerFails,
        key: format!("server/{origin}"),
        label: origin.clone(),
        is_so: server.fails,
        grace: SERVER_GRACE,
        data: alert::object(json!({"server": origin})),
        text,
        hint: doctor.to_owned(),
    }
}

fn store_is(fault: Option<&str>, doctor: String) -> Machine {
    let text = match fault {
        Some(fault) => format!("the store takes no writes, so no grant is renewed: {fault}"),
        None => "the store takes writes again".to_owned(),
    };
    Machine {
        event: AlertEvent::StoreNotWritable,
        key: "store".to_owned(),
        label: "not_writable".to_owned(),
        is_so: fault.is_some(),
        grace: STORE_GRACE,
        data: alert::object(json!({"fault": fault})),
        text,
        hint: doctor,
    }
}

fn clock_is(ahead: i64) -> Machine {
    let is_so = ahead.abs() > Skew::AGREEMENT;
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let text = match is_so {
        true => format!("the clock of this machine is {} s {side} what servers say", ahead.abs()),
        false => "the clock of this machine is right again".to_owned(),
    };
    Machine {
        event: AlertEvent::ClockWrong,
        key: "clock".to_owned(),
        label: "wrong".to_owned(),
        is_so,
        grace: CLOCK_GRACE,
        data: alert::object(json!({"seconds_ahead": ahead})),
        text,
        hint: "to set it right: timedatectl set-ntp true".to_owned(),
    }
}
