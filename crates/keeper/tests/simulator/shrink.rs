//! A failing scenario is cut down to what matters: events are taken out as long as the same law still breaks, then hosts,
//! processes and connections that nothing needs (delta debugging, after Zeller 1999).

use crate::run;
use crate::scenario::{Crystal, Scenario};

/// So many runs may be spent on it.
const PATIENCE: u32 = 3_000;

/// The smallest scenario found that breaks the same law.
pub(crate) fn shrink(scenario: &Scenario, law: u8) -> Scenario {
    let mut shrinker = Shrinker { law, runs_left: PATIENCE };
    let mut best = scenario.clone();
    loop {
        let before = best.clone();
        best = shrinker.fewer_events(best);
        best = shrinker.simpler(best);
        if best == before || shrinker.runs_left == 0 {
            return best;
        }
    }
}

struct Shrinker {
    law: u8,
    runs_left: u32,
}

impl Shrinker {
    fn still_breaks(&mut self, scenario: &Scenario) -> bool {
        if self.runs_left == 0 {
            return false;
        }
        self.runs_left -= 1;
        run::run(scenario, false).violation.is_some_and(|violation| violation.law == self.law)
    }

    /// Takes out chunks, first large ones.
    fn fewer_events(&mut self, mut best: Scenario) -> Scenario {
        let mut chunk = best.events.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < best.events.len() {
                let mut fewer = best.clone();
                fewer.events.drain(from..(from + chunk).min(fewer.events.len()));
                if self.still_breaks(&fewer) {
                    best = fewer;
                } else {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
        best
    }

    fn simpler(&mut self, best: Scenario) -> Scenario {
        let candidates: [fn(&mut Scenario); 5] = [
            |s| {
                s.length =
                    s.events.last().map_or(s.length, |last| last.at + crate::clocks::HOUR).min(s.length)
            },
            |s| s.clocks.fill(Crystal::default()),
            |s| s.connections = 1.max(s.connections - 1),
            |s| s.processes.truncate(1.max(s.processes.len() - 1)),
            |s| {
                s.processes.fill(0);
                s.clocks.truncate(1);
            },
        ];
        candidates.iter().fold(best, |best, simplify| {
            let mut simpler = best.clone();
            simplify(&mut simpler);
            let simpler = simpler.tidied();
            if simpler != best && self.still_breaks(&simpler) { simpler } else { best }
        })
    }
}
