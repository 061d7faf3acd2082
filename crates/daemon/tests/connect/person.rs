//! Somebody with a browser, as far as these pages can tell: cookies are kept, redirects followed, forms sent.

use crate::support::{House, Reply, ask_tcp};
use perennial_daemon::Daemon;
use perennial_daemon::config::Config;
use std::path::Path;

/// The configuration of one app, `travel`, with these lines more.
pub(crate) fn config(house: &House, more: &str) -> Config {
    let secret = house.dir.path().join("concur.secret");
    std::fs::write(&secret, &house.sandbox.ready().client_secret).unwrap();
    let (id, secret) = (&house.sandbox.ready().app_id, secret.display());
    let text = format!(
        "[listen]\ntcp = [\"127.0.0.1:0\"]\n[keep_alive]\nenabled = false\n[connect.travel]\nclient_id = \"{id}\"\nclient_secret = \"file:{secret}\"\n\
         title = \"Example Travel\"\nterms = \"https://example.com/terms\"\nprivacy = \"https://example.com/privacy\"\n\
         support = \"https://example.com/support\"\n{more}\n"
    );
    Config::parse(&text, &[]).unwrap()
}

/// A secret in a file, as `whsec_…` is written.
pub(crate) const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) fn shared_secret(dir: &Path) -> String {
    let path = dir.join("shared.secret");
    std::fs::write(&path, SHARED).unwrap();
    format!("file:{}", path.display())
}

/// What SAP's redirect looks like.
pub(crate) fn redirect(house: &House, token: &str) -> String {
    redirect_for(&house.sandbox.ready().company_uuid, token)
}

pub(crate) fn redirect_for(company: &str, token: &str) -> String {
    format!("/connect/travel?id={company}&requestToken={token}&userId=user-7")
}

/// The connection of the sandbox's company.
pub(crate) fn name(house: &House) -> String {
    house.sandbox.ready().company_uuid.to_ascii_lowercase()
}

/// Somebody with a browser.
pub(crate) struct Person<'a> {
    daemon: &'a Daemon,
    pub(crate) cookie: Option<String>,
}

impl<'a> Person<'a> {
    pub(crate) fn new(daemon: &'a Daemon) -> Self {
        Self { daemon, cookie: None }
    }

    /// Another window of the same browser, or the same browser later.
    pub(crate) fn with(daemon: &'a Daemon, cookie: Option<String>) -> Self {
        Self { daemon, cookie }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.daemon.addresses()[0])
    }

    /// One request, whose redirect is not followed.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let origin = self.origin();
        let mut headers = Vec::new();
        if let Some(cookie) = &self.cookie {
            headers.push(("cookie", cookie.as_str()));
        }
        if method == "POST" {
            headers.push(("origin", origin.as_str()));
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let reply = ask_tcp(self.daemon, method, path, &headers, body).await;
        if let Some(cookie) = reply.header("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        reply
    }

    /// A page, wherever redirects lead; returns its path too.
    pub(crate) async fn open(&mut self, path: &str) -> (String, Reply) {
        let mut path = path.to_owned();
        for _ in 0..5 {
            let reply = self.ask("GET", &path, "").await;
            match reply.header("location") {
                Some(to) if reply.status == 303 => path = to.to_owned(),
                _ => return (path, reply),
            }
        }
        panic!("it redirects for ever: {path}");
    }

    /// Sends the form of a page, and opens what comes of it.
    pub(crate) async fn press(&mut self, path: &str, page: &Reply) -> (String, Reply) {
        let sent = self.ask("POST", path, &form(page)).await;
        assert_eq!(sent.status, 303, "{sent:?}");
        let to = sent.header("location").unwrap().to_owned();
        self.open(&to).await
    }

    /// Comes from SAP, and says yes.
    pub(crate) async fn connect(&mut self, redirect: &str) -> (String, Reply) {
        let (path, page) = self.open(redirect).await;
        self.press(&path, &page).await
    }
}

/// What a page's form sends.
pub(crate) fn form(page: &Reply) -> String {
    let value = page.body.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    format!("csrf={}", value.unwrap_or_else(|| panic!("no form: {page:?}")))
}

/// The heading of a page, as a person reads it.
pub(crate) fn heading(page: &Reply) -> String {
    let text = page.body.split("<h1>").nth(1).and_then(|rest| rest.split("</h1>").next());
    text.unwrap_or_else(|| panic!("no heading: {page:?}")).to_owned()
}

/// What stands in the journal of a connection.
pub(crate) fn journal(house: &House, name: &str) -> String {
    let lines = house.keeper.store().journal(Some(name), None, 100).unwrap();
    lines.iter().map(|line| format!("{:?}\n", line.entry)).collect()
}
