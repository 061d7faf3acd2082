//! A person with a browser: follows an address and every redirect, keeps cookies, fills the forms in that are shown, and
//! says yes to all.

use crate::servers::Server;
use crate::web::{self, Answer};
use url::Url;

/// More pages than any sign-in has: who sees so many goes round in circles.
const MANY: usize = 20;

/// A person, and their browser at one server.
pub(crate) struct Person {
    home: Url,
    name: String,
    password: String,
    cookies: Vec<Cookie>,
}

struct Cookie {
    name: String,
    value: String,
    path: String,
}

/// Where a request led.
enum Seen {
    Page(Url, String),
    Elsewhere(String),
}

impl Person {
    /// Somebody whom this server knows; node-oidc-provider takes anybody.
    pub(crate) fn at(server: &Server) -> Self {
        let known = |name: &str| server.knows(name).unwrap_or("ada").to_owned();
        let home = Url::parse(server.issuer()).expect("an address");
        Self { home, name: known("user"), password: known("password"), cookies: Vec::new() }
    }

    /// Signs in at this address, and consents; returns the address that leads back to the client.
    #[track_caller]
    pub(crate) fn sign_in(&mut self, address: &str) -> String {
        match self.go_on(address) {
            Seen::Elsewhere(address) => address,
            Seen::Page(at, page) => panic!("the sign-in ends at {at}: {page}"),
        }
    }

    /// Signs in at the page for devices, and approves; returns the last page.
    #[track_caller]
    pub(crate) fn approve(&mut self, address: &str) -> String {
        match self.go_on(address) {
            Seen::Page(_, page) => page,
            Seen::Elsewhere(address) => panic!("it leads to {address}"),
        }
    }

    /// Until there is no form any more.
    fn go_on(&mut self, address: &str) -> Seen {
        let mut seen = self.visit("GET", Url::parse(address).expect("an address"), None);
        for _ in 0..MANY {
            match seen {
                Seen::Page(at, page) if page.contains("<form") => seen = self.submit(&at, &page),
                ended => return ended,
            }
        }
        panic!("no end of pages at {address}")
    }

    fn submit(&mut self, at: &Url, page: &str) -> Seen {
        let form = &page[page.find("<form").expect("a form")..];
        let form = &form[..form.find("</form").unwrap_or(form.len())];
        let to = attribute(form, "action").filter(|action| !action.is_empty());
        let to = to.map_or_else(|| at.clone(), |action| at.join(&action).expect("an address"));
        let fields: Vec<(String, String)> = form
            .split("<input")
            .skip(1)
            .filter_map(|input| {
                let (name, value) = (attribute(input, "name")?, attribute(input, "value"));
                let value = match name.as_str() {
                    "login" | "username" => self.name.clone(),
                    "password" => self.password.clone(),
                    _ => value.unwrap_or_default(),
                };
                Some((name, value))
            })
            .collect();
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.visit("POST", to, Some(&fields))
    }

    /// One request, and every redirect behind it that stays at this server.
    fn visit(&mut self, method: &str, mut at: Url, form: Option<&[(&str, &str)]>) -> Seen {
        let mut answer = self.send(method, &at, form);
        for _ in 0..MANY {
            let Some(location) = answer.headers("location").next() else {
                assert_eq!(answer.status, 200, "{at}: {answer:?}");
                return Seen::Page(at, answer.body);
            };
            at = at.join(location).expect("an address");
            if at.origin() != self.home.origin() {
                return Seen::Elsewhere(at.into());
            }
            answer = self.send("GET", &at, None);
        }
        panic!("no end of redirects at {at}")
    }

    fn send(&mut self, method: &str, to: &Url, form: Option<&[(&str, &str)]>) -> Answer {
        let kept = self.cookies.iter().filter(|cookie| to.path().starts_with(&cookie.path));
        let kept: Vec<String> = kept.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        let kept = kept.join("; ");
        let headers = [("Cookie", kept.as_str())];
        let answer = web::send(method, to, if kept.is_empty() { &[] } else { &headers }, form);
        for cookie in answer.headers("set-cookie") {
            self.keep(cookie);
        }
        answer
    }

    /// One cookie of a name and a path; an empty one is none.
    fn keep(&mut self, cookie: &str) {
        let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
        let (name, value) = pair.split_once('=').expect("a cookie");
        let is_path = |(key, _): &(&str, &str)| key.trim().eq_ignore_ascii_case("path");
        let path = attributes.split(';').filter_map(|part| part.split_once('=')).find(is_path);
        let path = path.map_or("/", |(_, path)| path.trim()).to_owned();
        self.cookies.retain(|known| known.name != name || known.path != path);
        if !value.is_empty() {
            self.cookies.push(Cookie { name: name.to_owned(), value: value.to_owned(), path });
        }
    }
}

/// An attribute of a tag, with the entities that stand in addresses and tokens undone.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = &tag[..tag.find('>').unwrap_or(tag.len())];
    let at = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = &tag[at..];
    Some(value[..value.find('"')?].replace("&amp;", "&"))
}
