//! The sandbox's credentials as files: `credentials.json` in the shape that SAP's Node sample reads.

use crate::sandbox::Ready;
use crate::world::APP_ID_MARK;
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

const CREDENTIALS: &str = "credentials.json";
const CA: &str = "sandbox-ca.pem";

/// Writes both files, each whole or not at all. A `credentials.json` that holds anything but an empty template or
/// an earlier sandbox's values stays as it is: it may be the only copy of somebody's secret.
pub(crate) fn write(ready: &Ready, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let path = dir.join(CREDENTIALS);
    match fs::read(&path) {
        Ok(found) if !is_ours_or_empty(&found) => {
            let problem = format!("{} holds credentials that are not a sandbox's", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
        }
        Ok(_) => {}
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
        Err(problem) => return Err(problem),
    }
    let credentials = json!({
        "appID": ready.app_id,
        "clientSecret": ready.client_secret,
        "grantType": "password",
        "companyUUID": ready.company_uuid,
        "companyRequestToken": ready.request_token,
        "credentialType": "authtoken",
    });
    if let Some(pem) = &ready.ca_cert_pem {
        replace(&dir.join(CA), pem.as_bytes(), 0o644)?;
    }
    replace(&path, format!("{credentials:#}\n").as_bytes(), 0o600)
}

fn is_ours_or_empty(found: &[u8]) -> bool {
    let Ok(found) = serde_json::from_slice::<Value>(found) else { return false };
    let empty = |name: &str| found[name].as_str().is_none_or(str::is_empty);
    let ours = found["appID"].as_str().is_some_and(|id| id.starts_with(APP_ID_MARK));
    ours || found.is_object() && empty("appID") && empty("clientSecret") && empty("companyRequestToken")
}

fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options
        .open(&beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is left of the attempt; if there is nothing, so much the better.
        let _ = fs::remove_file(&beside);
    }
    written
}
