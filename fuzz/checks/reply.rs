//! An HTTP answer, from bytes: four lines for status, `Retry-After`, `Date` and correlation id, and the rest is the
//! body. So what a fuzzer found can be read, and written by hand.

use perennial::core::UnixTime;
use perennial::core::token_endpoint::{BodyEnd, Reply, plain};

/// This host's time when the answer came: 2027-01-15.
pub(super) const NOW: UnixTime = UnixTime(1_800_000_000);

/// Anything is an answer: where no status can be read it is a 200, and lines may be missing.
pub(super) fn reply(bytes: &[u8]) -> Reply {
    let mut parts = bytes.splitn(5, |byte| *byte == b'\n');
    // As the shell does it: a header's value has no control characters when it gets here.
    let mut line =
        || parts.next().map(|line| plain(&String::from_utf8_lossy(line))).filter(|line| !line.is_empty());
    let status = line().and_then(|status| status.parse().ok()).unwrap_or(200);
    let (retry_after, date, correlation_id) = (line(), line(), line());
    let body = parts.next().unwrap_or_default().to_vec().into();
    Reply { status, retry_after, date, correlation_id, body, end: BodyEnd::Whole }
}
