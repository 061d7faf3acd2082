//! Inputs that are nearly right: the members that are looked for, with values that are looked for or lie just beside
//! that, in a text that may be damaged.

use perennial::core::Fingerprint;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use std::fmt;

/// An input, which a failing test prints so that a person can read it.
#[derive(Clone)]
pub(crate) struct Input(pub(crate) Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// A member, and what it holds as a rule.
type Member = (&'static str, BoxedStrategy<Value>);

/// Bytes without any plan.
pub(crate) fn noise() -> BoxedStrategy<Input> {
    vec(any::<u8>(), 0..256).prop_map(Input).boxed()
}

/// An HTTP answer, as `fuzz/checks/reply.rs` takes it apart.
pub(crate) fn answers() -> BoxedStrategy<Input> {
    let status = prop_oneof![
        3 => Just(200), 3 => Just(400), 1 => any::<u16>(),
        2 => select(vec![201, 204, 301, 307, 401, 403, 404, 429, 500, 502, 503, 504]),
    ];
    let date = select(vec!["", "Fri, 15 Jan 2027 08:00:00 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", "today"]);
    let retry_after = prop_oneof![date.clone().prop_map(str::to_owned), "-?[0-9]{1,25}"];
    let body = text_of(object([tokens(), refusals()].concat()));
    (status, retry_after, date, body)
        .prop_map(|(status, retry_after, date, body)| {
            Input([format!("{status}\n{retry_after}\n{date}\ncorrelation\n").into_bytes(), body].concat())
        })
        .boxed()
}

/// `credentials.json`.
pub(crate) fn credentials() -> BoxedStrategy<Input> {
    text_of(object(vec![
        ("appID", words(&["app", " app\n", ""])),
        ("clientSecret", words(&["secret", " secret ", ""])),
        ("grantType", words(&["password", "Password", ""])),
        ("companyUUID", principals()),
        ("companyRequestToken", words(&["request", ""])),
        ("credentialType", words(&["authtoken", "password", ""])),
    ]))
    .prop_map(Input)
    .boxed()
}

/// `refreshTokenObjectFile.json`: by the sample, by us, or by us and then by the sample.
pub(crate) fn token_files() -> BoxedStrategy<Input> {
    let own = vec![
        ("companyUUID", principals()),
        ("perennial", object(bookkeeping())),
        ("perennial.damaged", odd()),
    ];
    text_of(object([tokens(), own].concat())).prop_map(Input).boxed()
}

/// The members of a token response.
fn tokens() -> Vec<Member> {
    vec![
        ("access_token", secrets()),
        ("refresh_token", secrets()),
        ("id_token", secrets()),
        ("token_type", words(&["Bearer", "bearer", "DPoP", " bearer ", "a\r\nb"])),
        ("expires_in", numbers()),
        ("refresh_expires_in", numbers()),
        ("scope", words(&["openid USER", "a\nb", ""])),
        ("geolocation", origins()),
        ("novelty", odd()),
        // Names that we use in the file; nothing keeps a server from using them too.
        ("companyUUID", principals()),
        ("perennial", odd()),
    ]
}

/// The members of an error response.
fn refusals() -> Vec<Member> {
    let code = (0_u32..160, any::<bool>());
    let code = code.prop_map(|(code, quoted)| if quoted { json!(code.to_string()) } else { json!(code) });
    vec![
        ("code", code.boxed()),
        ("error", words(&["invalid_grant", "invalid_request", "invalid_client", "slow_down", "novel", ""])),
        ("error_description", words(&["it is\r\nwrong", "", " "])),
        ("geolocation", origins()),
    ]
}

/// Our own members of the token file.
fn bookkeeping() -> Vec<Member> {
    let list = |entry| vec(entry, 0..3).prop_map(Value::from).boxed();
    vec![
        ("version", numbers()),
        ("id", names()),
        ("profile", words(&["concur", "novel"])),
        ("principal", principals()),
        ("grant_id", names()),
        ("generation", numbers()),
        ("refreshed_at", numbers()),
        ("access_expires_at", numbers()),
        ("access_expiry", bases()),
        ("refresh_expiry", bases()),
        ("refresh_fingerprint", fingerprints()),
        ("access_fingerprint", fingerprints()),
        ("permitted_origins", list(origins())),
        ("condition", condition()),
        ("intent", intent()),
        ("previous", list(previous())),
        ("candidates", list(candidate())),
        ("last_fault", fault()),
        ("request_token", request_token()),
        ("forced_at", numbers()),
        ("clock", object(vec![("kernel", names()), ("skew", numbers()), ("suspected", numbers())])),
    ]
}

fn condition() -> BoxedStrategy<Value> {
    let states = ["backing_off", "uncertain", "suspended", "needs_reauthorization", "revoked", "novel"];
    object(vec![("state", words(&states)), ("until", numbers()), ("failures", numbers())])
}

fn intent() -> BoxedStrategy<Value> {
    object(vec![
        ("purpose", purposes()),
        ("grant_id", names()),
        ("generation", numbers()),
        ("presented", fingerprints()),
        ("base", origins()),
        ("written_at", numbers()),
        ("deadline", numbers()),
        ("kernel", names()),
        ("process", numbers()),
        ("correlation_id", names()),
    ])
}

fn previous() -> BoxedStrategy<Value> {
    object(vec![
        ("grant_id", names()),
        ("generation", numbers()),
        ("refresh_token", secrets()),
        ("base", origins()),
        ("replaced_at", numbers()),
    ])
}

fn candidate() -> BoxedStrategy<Value> {
    object(vec![
        ("reason", words(&["late", "other_principal", "novel"])),
        ("grant_id", names()),
        ("generation", numbers()),
        ("base", origins()),
        ("received_at", numbers()),
        ("answer", object(tokens())),
    ])
}

fn fault() -> BoxedStrategy<Value> {
    object(vec![
        ("at", numbers()),
        ("purpose", purposes()),
        ("verdict", words(&["retry", "relocate", "grant_gone", "unknown", "novel"])),
        ("status", numbers()),
        ("code", numbers()),
        ("description", names()),
        ("correlation_id", names()),
        ("message", names()),
    ])
}

fn request_token() -> BoxedStrategy<Value> {
    object(vec![
        (
            "fingerprint",
            prop_oneof![fingerprints(), Just(json!(Fingerprint::of("presented").as_str()))].boxed(),
        ),
        ("uses", numbers()),
        ("first_used_at", numbers()),
    ])
}

fn secrets() -> BoxedStrategy<Value> {
    prop_oneof![
        6 => words(&["token-a"]),
        1 => words(&["token-b"]),
        1 => words(&["", " ", "token\n", "t\u{f6}ken"]),
        // {"sub":"company","iat":1800000000,"exp":1800003600}
        1 => words(&["e30.eyJzdWIiOiJjb21wYW55IiwiaWF0IjoxODAwMDAwMDAwLCJleHAiOjE4MDAwMDM2MDB9.s"]),
        // {"sub":""} and {"sub":" ","exp":"soon"}
        1 => words(&["e30.eyJzdWIiOiIifQ.s", "e30.eyJzdWIiOiIgIiwiZXhwIjoic29vbiJ9.s"]),
    ]
    .boxed()
}

/// Fingerprints that agree with [`secrets`] more often than not.
fn fingerprints() -> BoxedStrategy<Value> {
    let of = |token: &str| Fingerprint::of(token).as_str().to_owned();
    let a = Just(json!(of("token-a")));
    prop_oneof![4 => a, 1 => words(&[&of("token-b"), &of("token-b").to_uppercase(), "none", ""])].boxed()
}

fn principals() -> BoxedStrategy<Value> {
    words(&["company", "COMPANY", "stranger", " company ", " ", ""])
}

fn origins() -> BoxedStrategy<Value> {
    words(&[
        "https://us2.api.concursolutions.com",
        "https://eu2.api.concursolutions.com/oauth2/v0/token",
        "https://EVIL.example:8443",
        "http://127.0.0.1:9",
        "http://[::1]",
        "http://us2.api.concursolutions.com",
        "https://a@us2.api.concursolutions.com",
        "/oauth2",
        "",
    ])
}

fn names() -> BoxedStrategy<Value> {
    words(&["kernel", "name", "b\u{e4}d \u{202e}\u{0} \u{1f511}", ""])
}

fn purposes() -> BoxedStrategy<Value> {
    words(&["obtain", "refresh", "novel"])
}

fn bases() -> BoxedStrategy<Value> {
    words(&["stated", "assumed", "novel"])
}

fn words(texts: &[&str]) -> BoxedStrategy<Value> {
    select(texts.iter().map(|text| json!(text)).collect::<Vec<_>>()).boxed()
}

/// Numbers of every size, also in quotes, also in milliseconds, also at the ends of what a number can be.
fn numbers() -> BoxedStrategy<Value> {
    let ends = [0, 1, 65_535, 65_536, 4_294_967_295, 4_294_967_296, i64::MAX, i64::MIN];
    let likely = prop_oneof![
        1_i64..5,
        Just(3600_i64),
        1_800_000_000_i64..1_900_000_000,
        1_800_000_000_000_i64..1_900_000_000_000,
        select(ends.to_vec()),
        any::<i64>(),
    ];
    prop_oneof![
        6 => likely.clone().prop_map(|number| json!(number)),
        1 => likely.prop_map(|number| json!(format!(" {number}"))),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => (0.0..1.0).prop_map(|number| json!(number)),
        1 => "-?[0-9]{1,20}(\\.[0-9]{1,20})?([eE]-?[0-9]{1,3})?".prop_map(Value::from),
        1 => (i64::MAX.unsigned_abs()..).prop_map(|number| json!(number)),
    ]
    .boxed()
}

/// Whatever JSON can be, three levels deep.
fn odd() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        8 => Just(Value::Null),
        8 => any::<bool>().prop_map(Value::from),
        16 => numbers(),
        16 => any::<String>().prop_map(Value::from),
        1 => Just(json!("x".repeat(70_000))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let members = btree_map(any::<String>(), inner.clone(), 0..4);
        let object = members.prop_map(|members| Value::Object(members.into_iter().collect()));
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), object]
    })
    .boxed()
}

/// An object of these members, where one in eight is missing and one in sixteen is odd.
fn object(members: Vec<Member>) -> BoxedStrategy<Value> {
    let member = |(name, usual): Member| {
        let value = prop_oneof![2 => Just(None), 13 => usual.prop_map(Some), 1 => odd().prop_map(Some)];
        value.prop_map(move |value| value.map(|value| (name.to_owned(), value))).boxed()
    };
    let members: Vec<_> = members.into_iter().map(member).collect();
    members.prop_map(|members| Value::Object(members.into_iter().flatten().collect())).boxed()
}

/// The text of a value, and in one case out of four something that happened to it.
fn text_of(value: BoxedStrategy<Value>) -> BoxedStrategy<Vec<u8>> {
    let text = (value, any::<bool>()).prop_map(|(value, pretty)| {
        if pretty { format!("{value:#}").into_bytes() } else { value.to_string().into_bytes() }
    });
    let undamaged = Just(None);
    let damage = select(DAMAGES.to_vec()).prop_map(Some);
    (text, prop_oneof![3 => undamaged, 1 => damage], any::<Index>())
        .prop_map(|(text, damage, place)| match damage {
            Some(damage) => damage(text, place),
            None => text,
        })
        .boxed()
}

/// Takes a text, and a place in it.
type Damage = fn(Vec<u8>, Index) -> Vec<u8>;

/// What can happen to a text.
const DAMAGES: [Damage; 5] = [
    |text, _| [b"\xef\xbb\xbf", text.as_slice()].concat(),
    |text, place| text[..place.index(text.len() + 1)].to_vec(),
    |text, place| inserted(&text, place, b"\xff\x00"),
    |text, _| replaced(&text, "3600", "1e400"),
    |text, _| replaced(&text, "3600", &"[".repeat(200)),
];

fn inserted(text: &[u8], place: Index, more: &[u8]) -> Vec<u8> {
    let place = place.index(text.len() + 1);
    [&text[..place], more, &text[place..]].concat()
}

fn replaced(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(text).replace(from, to).into_bytes()
}
