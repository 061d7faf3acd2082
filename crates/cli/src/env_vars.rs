//! Every environment variable that Perennial reads of its own, declared once. Beside these it honours `HTTPS_PROXY`,
//! `NO_PROXY`, `NO_COLOR`, `XDG_STATE_HOME`, `XDG_DATA_HOME` and `XDG_CONFIG_HOME`.

/// Where connections are kept: `sqlite:FILE`, `postgres://USER@HOST/DATABASE` or `sap-sample:DIR`. A password of the last
/// but one is read from the file that `PGPASSFILE` names, from `~/.pgpass` or from `PGPASSWORD`.
pub(crate) const STORE: &str = "PERENNIAL_STORE";
/// What secrets are sealed with: `file:PATH` or `env:NAME`.
pub(crate) const MASTER_KEY: &str = "PERENNIAL_MASTER_KEY";
/// Whose connections, where several share one store.
pub(crate) const TENANT: &str = "PERENNIAL_TENANT";
/// Where a grant is obtained.
pub(crate) const BASE_URI: &str = "PERENNIAL_BASE_URI";
/// Where a grant is obtained, by the name of Concur's data centre.
pub(crate) const DATACENTER: &str = "PERENNIAL_DATACENTER";
/// Certificates to trust beside those of this machine: a PEM file.
pub(crate) const CA_CERT: &str = "PERENNIAL_CA_CERT";
/// Addresses of names that are not to be asked of the resolver.
pub(crate) const RESOLVE: &str = "PERENNIAL_RESOLVE";
/// The daemon's configuration. Each of its options is a variable too: `PERENNIAL_SERVE_` and the option's name in
/// capitals, with `_` for dots.
pub(crate) const CONFIG: &str = "PERENNIAL_CONFIG";
/// The unix socket of a running daemon, which `token` and `call` use where there is one.
pub(crate) const SOCKET: &str = "PERENNIAL_SOCKET";
/// The directory with a person's own provider profiles.
pub(crate) const PROFILES: &str = "PERENNIAL_PROFILES";
/// How long the caller waits.
pub(crate) const TIMEOUT: &str = "PERENNIAL_TIMEOUT";
/// How long one token request may take before its outcome counts as unknown.
pub(crate) const ANSWER_WITHIN: &str = "PERENNIAL_ANSWER_WITHIN";
/// `text` or `json`.
pub(crate) const LOG_FORMAT: &str = "PERENNIAL_LOG_FORMAT";
