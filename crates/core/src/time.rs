//! Time that is doubted (law 11). Expiries are kept in the *server's* time; a host measures how far its own clock is
//! off and never trusts a single odd reading.

use std::time::Duration;

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// The time `seconds` later (earlier when negative); stays at the ends of the range.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// This time and a duration, in whole seconds.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        self.plus(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
    }

    /// Seconds from `earlier` to this time; negative when this one is earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads an HTTP date (RFC 9110 section 5.6.7), in any of its three forms.
    #[must_use]
    pub fn from_http_date(text: &str) -> Option<Self> {
        let date = httpdate::parse_http_date(text.trim()).ok()?;
        let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since_epoch.as_secs()).ok().map(Self)
    }
}

/// Reads `90s`, `5m`, `1h30m`, `7d`; a bare number counts seconds.
///
/// # Errors
/// In words for a person, when it is no duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no duration; write it as 90s, 5m, 1h30m or 7d");
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut total, mut digits) = (0_u64, String::new());
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == letter).ok_or_else(wrong)?;
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|seconds| total.checked_add(seconds)).ok_or_else(wrong)?;
        digits.clear();
    }
    if text.is_empty() || !digits.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

/// Writes a duration as [`parse_duration`] reads it, in whole seconds.
#[must_use]
pub fn write_duration(duration: Duration) -> String {
    let mut left = duration.as_secs();
    let mut text = String::new();
    for (name, unit) in UNITS {
        if left >= unit {
            text.push_str(&format!("{}{name}", left / unit));
            left %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

const UNITS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

/// When something ends, and how sure we are of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The server said so.
    Stated(UnixTime),
    /// The server did not say; this is what its documentation lets one expect.
    Assumed(UnixTime),
}

impl Expiry {
    /// The time, stated or assumed.
    #[must_use]
    pub fn at(self) -> UnixTime {
        match self {
            Self::Stated(at) | Self::Assumed(at) => at,
        }
    }

    /// `stated` or `assumed`, as `status --json` writes it.
    #[must_use]
    pub fn basis(self) -> &'static str {
        match self {
            Self::Stated(_) => "stated",
            Self::Assumed(_) => "assumed",
        }
    }
}

/// A host's wall clock, tied to something that does not jump: the moment when its kernel booted. Whoever reads a skew
/// that another process of the same kernel measured can tell by it whether the wall clock was set in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostClock {
    /// Which running kernel.
    pub kernel: String,
    /// What the wall clock would have shown when it booted: what it shows now, less the time since boot.
    pub boot_epoch: i64,
}

/// How far the server's clock is ahead of this host's, in seconds; negative when it is behind.
///
/// A `Date` header counts whole seconds and travels for a while, so a few seconds mean nothing. One reading that is
/// far off may come from a broken proxy or a broken server: it is believed only when the next one agrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew {
    /// What is believed.
    pub seconds: i64,
    /// A reading that was too odd to believe at once.
    pub suspected: Option<i64>,
}

impl Skew {
    /// Readings within this many seconds of each other agree. SAP's answers may take 60 s, and a slow one reads late
    /// by as much; five minutes is what Kerberos allows and what host clocks under NTP never reach.
    pub const AGREEMENT: i64 = 300;
    /// Below this a reading is the header's own roughness, and the host's clock is taken to be right.
    pub const ROUGHNESS: i64 = 3;

    /// Takes a new reading in: the server's `Date` less this host's time when the answer came.
    #[must_use]
    pub fn observe(self, server: UnixTime, here: UnixTime) -> Self {
        let reading = server.since(here);
        let near = |other: i64| reading.abs_diff(other) <= Self::AGREEMENT.unsigned_abs();
        if near(0) || near(self.seconds) || self.suspected.is_some_and(near) {
            let seconds = if reading.abs() < Self::ROUGHNESS { 0 } else { reading };
            return Self { seconds, suspected: None };
        }
        Self { seconds: self.seconds, suspected: Some(reading) }
    }

    /// The same skew when the host's wall clock was set by `seconds`.
    ///
    /// A clock that was set back is corrected for, so that the server's time never runs backwards here. One that was
    /// set forward is believed: a machine that was paused looks just like that, and a token that is taken for older
    /// than it is costs one refresh, which measures anew.
    #[must_use]
    pub fn after_wall_clock_was_set(self, seconds: i64) -> Self {
        if seconds > -Self::STEADY { self } else { self.moved_back(seconds) }
    }

    /// The same server, told by a clock that stands `seconds` further ahead.
    #[must_use]
    pub fn moved_back(self, seconds: i64) -> Self {
        let moved = |reading: i64| reading.saturating_sub(seconds);
        Self { seconds: moved(self.seconds), suspected: self.suspected.map(moved) }
    }

    /// Below this a wall clock was not set: it is the rounding of whole seconds, or NTP at its daily work.
    pub const STEADY: i64 = 5;

    /// This host's time as the server would tell it.
    #[must_use]
    pub fn server_time(self, here: UnixTime) -> UnixTime {
        here.plus(self.seconds)
    }

    /// The server's time as this host would tell it.
    #[must_use]
    pub fn host_time(self, server: UnixTime) -> UnixTime {
        server.plus(self.seconds.saturating_neg())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        let seconds = |text: &str| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("45"), Ok(45));
        assert_eq!(seconds("7d"), Ok(604_800));
        for odd in ["", "s", "5x", "1h30", "-5s", "99999999999999999999d"] {
            assert!(seconds(odd).is_err(), "{odd}");
        }
        for text in ["0s", "45s", "1h30m", "7d", "1d1s"] {
            assert_eq!(write_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn http_dates_are_read() {
        assert_eq!(UnixTime::from_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(UnixTime(784_111_777)));
        assert_eq!(UnixTime::from_http_date("yesterday"), None);
    }

    #[test]
    fn law_11_small_readings_are_roughness_and_near_ones_are_believed() {
        let skew = Skew::default().observe(UnixTime(1_002), UnixTime(1_000));
        assert_eq!(skew, Skew::default());
        let skew = Skew::default().observe(UnixTime(1_200), UnixTime(1_000));
        assert_eq!(skew.seconds, 200);
        assert_eq!(skew.server_time(UnixTime(5_000)), UnixTime(5_200));
        assert_eq!(skew.host_time(UnixTime(5_200)), UnixTime(5_000));
    }

    #[test]
    fn law_11_a_clock_that_was_set_back_does_not_turn_the_servers_time_back() {
        let skew = Skew { seconds: 10, suspected: Some(900) };
        let back = skew.after_wall_clock_was_set(-3600);
        assert_eq!(back.server_time(UnixTime(5_000 - 3600)), skew.server_time(UnixTime(5_000)));
        assert_eq!(back.suspected, Some(900 + 3600));
        for believed in [-4, 0, 3600] {
            assert_eq!(skew.after_wall_clock_was_set(believed), skew);
        }
    }

    #[test]
    fn law_11_an_outlier_is_ignored_until_a_second_reading_agrees() {
        let once = Skew::default().observe(UnixTime(90_000), UnixTime(0));
        assert_eq!((once.seconds, once.suspected), (0, Some(90_000)));
        let back = once.observe(UnixTime(1), UnixTime(0));
        assert_eq!(back, Skew::default(), "a sane reading clears the suspicion");
        let twice = once.observe(UnixTime(90_010), UnixTime(5));
        assert_eq!((twice.seconds, twice.suspected), (90_005, None));
    }
}
