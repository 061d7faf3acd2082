//! The numbers of the wire. Concur's documents show `3600` and `"3600"`, and nobody promises an integer.

use crate::time::UnixTime;
use serde_json::Value;
use std::time::Duration;

/// A whole number that may stand in quotes or carry a fraction (which is dropped); `None` for anything else.
#[must_use]
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
        }
        _ => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and the fraction is dropped on purpose"
    )]
    number.is_finite().then_some(number as i64)
}

/// `expires_in` of RFC 6749: a duration in seconds. Zero, negative and absurd ones (over ten years) are not believed.
#[must_use]
pub fn lifetime(value: &Value) -> Option<Duration> {
    const TEN_YEARS: i64 = 10 * 366 * 24 * 3600;
    let seconds = integer(value).filter(|seconds| (1..=TEN_YEARS).contains(seconds))?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// Concur's `refresh_expires_in`: despite its name a point in time, in Unix seconds; milliseconds are recognized by
/// their size. What lies before 2001 is no date and is not believed; what lies in the past is, because it is
/// the clock that may be wrong.
#[must_use]
pub fn absolute_expiry(value: &Value) -> Option<UnixTime> {
    /// 2001-09-09; the first number of ten digits.
    const OLDEST: i64 = 1_000_000_000;
    /// The first number of twelve digits: seconds of the year 5138, or milliseconds of 1973.
    const MILLISECONDS: i64 = 100_000_000_000;
    let number = integer(value)?;
    let seconds = if number >= MILLISECONDS { number / 1000 } else { number };
    (OLDEST..MILLISECONDS).contains(&seconds).then_some(UnixTime(seconds))
}

/// `Retry-After` (RFC 9110 section 10.2.3) in both of its forms: seconds, or a date. A date is measured against the
/// answer's own `Date`, so that a wrong clock here does not stretch it.
#[must_use]
pub fn retry_after(text: &str, date: Option<&str>, now: UnixTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = UnixTime::from_http_date(text)?;
    let base = date.and_then(UnixTime::from_http_date).unwrap_or(now);
    Some(Duration::from_secs(u64::try_from(until.since(base)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expires_in_comes_in_many_shapes() {
        let seconds = |value: Value| lifetime(&value).map(|life| life.as_secs());
        assert_eq!(seconds(json!(3600)), Some(3600));
        assert_eq!(seconds(json!("3600")), Some(3600));
        assert_eq!(seconds(json!(" 3600 ")), Some(3600));
        assert_eq!(seconds(json!(3599.9)), Some(3599));
        assert_eq!(seconds(json!("3599.9")), Some(3599));
        for odd in
            [json!(-1), json!(0), json!("soon"), json!(null), json!([3600]), json!(1e300), json!("NaN")]
        {
            assert_eq!(seconds(odd.clone()), None, "{odd}");
        }
    }

    #[test]
    fn refresh_expires_in_is_a_date_in_seconds_or_milliseconds() {
        let at = |value: Value| absolute_expiry(&value).map(|at| at.0);
        assert_eq!(at(json!(1_800_000_000)), Some(1_800_000_000));
        assert_eq!(at(json!("1800000000")), Some(1_800_000_000));
        assert_eq!(at(json!(1_800_000_000_123_i64)), Some(1_800_000_000));
        assert_eq!(at(json!(1_300_000_000)), Some(1_300_000_000), "the past is believed");
        for odd in [json!(15_552_000), json!(-5), json!(null), json!("never"), json!(1e18)] {
            assert_eq!(at(odd.clone()), None, "{odd}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UnixTime(784_111_777);
        assert_eq!(retry_after("120", None, now), Some(Duration::from_secs(120)));
        let date = "Sun, 06 Nov 1994 08:50:37 GMT";
        assert_eq!(retry_after(date, None, now), Some(Duration::from_secs(60)));
        assert_eq!(
            retry_after(date, Some("Sun, 06 Nov 1994 08:50:07 GMT"), now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(retry_after("later", None, now), None);
    }
}
