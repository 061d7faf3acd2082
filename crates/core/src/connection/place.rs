//! Where a connection's secrets and its API calls go: to a server of its own, or below the base where its principal lives; and
//! nowhere that is not permitted (law 10).

use super::Connection;
use crate::origin::Origin;
use crate::server::Server;

impl Connection {
    /// True when secrets of this connection may go to `origin` (law 10).
    #[must_use]
    pub fn permits(&self, origin: &Origin) -> bool {
        self.profile.permits(origin, &self.permitted)
    }

    /// The same at a server of its own: a person who names the server permits that secrets go there (law 10).
    #[must_use]
    pub fn at(mut self, server: Server) -> Self {
        for origin in server.origins() {
            if !self.profile.permits(origin, &self.permitted) {
                self.permitted.push(origin.clone());
            }
        }
        self.server = Some(server);
        self
    }

    /// The path of the token endpoint, and its query where it has one.
    #[must_use]
    pub fn token_path(&self) -> &str {
        self.server.as_ref().map_or(self.profile.token_path, |server| server.token.path())
    }

    /// Where the token endpoint is, if that does not depend on where the principal lives.
    #[must_use]
    pub fn token_origin(&self) -> Option<&Origin> {
        self.server.as_ref().map(|server| server.token.origin())
    }

    /// The base of the API that the access token is for: as the answer named it, as a person did, or where the principal
    /// lives. An address that is not permitted is none (law 10).
    #[must_use]
    pub fn api_base(&self) -> Option<Origin> {
        let held = self.held.as_ref()?;
        let named = self.profile.api_member.and_then(|member| held.others.0.get(member));
        let named = named.and_then(serde_json::Value::as_str).and_then(|base| Origin::parse(base).ok());
        let named = named.filter(|base| self.permits(base));
        let own = self.server.as_ref().and_then(|server| server.api.clone());
        Some(own.or(named).unwrap_or_else(|| held.base.clone()))
    }

    /// What tells this connection's app from others of the same client id: the profile, and the server where that is its
    /// own.
    #[must_use]
    pub fn realm(&self) -> String {
        match &self.server {
            Some(server) => format!("{} {}", self.profile.name, server.identity()),
            None => self.profile.name.to_owned(),
        }
    }
}
