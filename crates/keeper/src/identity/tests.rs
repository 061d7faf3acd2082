//! Id tokens that are signed for real, and what somebody makes of them who stands between.

use super::*;
use crate::http::{BoxFuture, Line};
use jsonwebtoken::{EncodingKey, Header, encode};
use perennial_core::connection::Obtaining;
use perennial_core::profile::generic::GENERIC;
use perennial_core::secret::{ClientSecret, Credential};
use perennial_core::server::Server;
use perennial_core::token_endpoint::{BodyEnd, Failure, Reply, Unreachable};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

const ISSUER: &str = "https://login.example";
const NOW: i64 = 1_800_000_000;

/// Publishes keys, and counts who asks for them.
struct Keys {
    body: String,
    asked: AtomicUsize,
}

impl Keys {
    fn of(keys: &[Value]) -> Self {
        Self { body: json!({"keys": keys}).to_string(), asked: AtomicUsize::new(0) }
    }
}

impl TokenEndpoint for Keys {
    fn connect<'a>(&'a self, _: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>> {
        Box::pin(async { Err(Unreachable::TimedOut) })
    }

    fn run(&self, _: Errand) -> BoxFuture<'_, Result<Reply, Failure>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let body = self.body.clone().into_bytes().into();
        let (retry_after, date, correlation_id) = (None, None, None);
        Box::pin(async move {
            Ok(Reply { status: 200, retry_after, date, correlation_id, body, end: BodyEnd::Whole })
        })
    }
}

/// A key pair of the server's.
struct Signer {
    key: EncodingKey,
    public: Value,
}

impl Signer {
    fn new(kid: &str) -> Self {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        Self { key, public: serde_json::to_value(&jwk).unwrap() }
    }

    fn sign(&self, kid: Option<&str>) -> String {
        sign(&self.key, Algorithm::ES256, kid)
    }
}

fn sign(key: &EncodingKey, algorithm: Algorithm, kid: Option<&str>) -> String {
    let claims = json!({"iss": ISSUER, "sub": "person", "aud": "app", "exp": NOW + 600, "nonce": "no"});
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, &claims, key).unwrap()
}

fn connection() -> Connection {
    let endpoint = |path: &str| Endpoint::parse(&format!("{ISSUER}{path}")).unwrap();
    let mut server = Server::new(endpoint("/token"));
    server.issuer = Some(ISSUER.to_owned());
    server.keys = Some(endpoint("/keys"));
    let mut connection = Connection::new("id", "acme", &GENERIC).at(server);
    connection.obtaining = Obtaining { scope: Some("openid".into()), ..Obtaining::default() };
    connection
}

/// What a sign-in makes of an id_token, with the keys that were fetched before.
async fn judged(keys: &Keys, id_token: &str) -> Result<(), IdTokenError> {
    let (seen, sets) = (connection(), KeySets::default());
    let base = Origin::parse(ISSUER).unwrap();
    sets.prepare(keys, &keys_of(&seen, &base).unwrap(), Duration::ZERO).await;
    let members = json!({"access_token": "access", "id_token": id_token});
    let response = TokenResponse::from_members(members.as_object().unwrap()).unwrap();
    let client = Client { id: "app".into(), secret: ClientSecret::new("secret-of-the-app") };
    let grant = Grant::AuthorizationCode {
        code: Credential::new("code"),
        redirect_uri: String::new(),
        verifier: None,
        nonce: Some("no".into()),
    };
    let now = [UnixTime(NOW); 2];
    let answer = Answer {
        seen: &seen,
        client: &client,
        grant: &grant,
        purpose: Purpose::Obtain,
        base: &base,
        response: &response,
        now,
    };
    check(&sets, &answer)
}

#[tokio::test]
async fn a_signature_of_a_published_key_holds() {
    let (one, two) = (Signer::new("one"), Signer::new("two"));
    let keys = Keys::of(&[one.public.clone(), two.public.clone()]);
    assert_eq!(judged(&keys, &two.sign(Some("two"))).await, Ok(()));
    assert_eq!(judged(&keys, &two.sign(None)).await, Ok(()), "a key need not be named");
}

#[tokio::test]
async fn law_13_a_signature_of_another_key_does_not() {
    let (own, other) = (Signer::new("one"), Signer::new("one"));
    let keys = Keys::of(std::slice::from_ref(&own.public));
    assert_eq!(judged(&keys, &other.sign(Some("one"))).await, Err(IdTokenError::Signature));
    let good = own.sign(Some("one"));
    let (rest, _) = good.rsplit_once('.').unwrap();
    assert_eq!(judged(&keys, &format!("{rest}.AAAA")).await, Err(IdTokenError::Signature));
}

/// RFC 8725 section 2.1: whoever has the public key signs with it as if it were a shared secret.
#[tokio::test]
async fn algorithm_confusion_does_not_work() {
    let own = Signer::new("one");
    let keys = Keys::of(std::slice::from_ref(&own.public));
    for secret in [own.public.to_string(), own.public["x"].as_str().unwrap().to_owned()] {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let forged = sign(&key, Algorithm::HS256, Some("one"));
        assert_eq!(judged(&keys, &forged).await, Err(IdTokenError::Signature));
    }
    // A server may publish a symmetric key by mistake: everybody has it.
    let shared = json!({"kty": "oct", "kid": "two", "k": "c2VjcmV0", "alg": "HS256"});
    let keys = Keys::of(&[own.public.clone(), shared]);
    let forged = sign(&EncodingKey::from_secret(b"secret"), Algorithm::HS256, Some("two"));
    assert_eq!(judged(&keys, &forged).await, Err(IdTokenError::Signature));
    // The client's own secret is a secret of these two alone (OpenID Connect Core section 10.1).
    let agreed = sign(&EncodingKey::from_secret(b"secret-of-the-app"), Algorithm::HS256, None);
    assert_eq!(judged(&keys, &agreed).await, Ok(()));
}

#[tokio::test]
async fn a_key_is_used_for_what_it_is_published_for() {
    let own = Signer::new("one");
    for (member, value) in [("use", "enc"), ("alg", "RS256")] {
        let mut public = own.public.clone();
        public[member] = json!(value);
        // No key fits: nothing can be checked, and nothing is believed wrongly either.
        assert_eq!(judged(&Keys::of(&[public]), &own.sign(Some("one"))).await, Ok(()), "{member}");
    }
}

#[tokio::test]
async fn a_key_set_that_is_none_is_not_used() {
    let own = Signer::new("one");
    let many: Vec<Value> = (0..=MOST_KEYS).map(|_| own.public.clone()).collect();
    let padded = format!("{{\"keys\":[], \"x\": \"{}\"}}", "x".repeat(METADATA_LIMIT));
    for body in [Keys::of(&many).body, padded, "<html>".into(), "{\"keys\": 7}".into()] {
        assert!(key_set(body.as_bytes()).is_none());
    }
    let odd = json!({"keys": [{"kty": "new kind"}, {"no": "kty"}, 7, own.public]}).to_string();
    let set = key_set(odd.as_bytes()).unwrap();
    assert!(set.keys.iter().any(|key| key.common.key_id.as_deref() == Some("one")), "others do no harm");
}

#[tokio::test]
async fn keys_are_fetched_once_a_minute_and_anew_after_that() {
    let own = Signer::new("one");
    let keys = Keys::of(&[own.public]);
    let (seen, sets) = (connection(), KeySets::default());
    let from = keys_of(&seen, &Origin::parse(ISSUER).unwrap()).unwrap();
    for at in [0, 30, 59] {
        sets.prepare(&keys, &from, Duration::from_secs(at)).await;
    }
    assert_eq!(keys.asked.load(Ordering::SeqCst), 1);
    sets.prepare(&keys, &from, Duration::from_secs(61)).await;
    assert_eq!(keys.asked.load(Ordering::SeqCst), 2, "a server that has new keys is heard");
}
