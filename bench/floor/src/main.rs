//! `floor DIR`: prints the access token in DIR/refreshTokenObjectFile.json if it is still valid, and does nothing else.
//! No locks, no laws, no options: a program that hands out tokens from a file cannot take less.

use serde_json::Value;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// `perennial token` hands out nothing that lives shorter.
const MIN_TTL: u64 = 60;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = env::args_os().nth(1).ok_or("usage: floor DIR")?;
    let text = fs::read(Path::new(&dir).join("refreshTokenObjectFile.json"))?;
    let file: Value = serde_json::from_slice(&text)?;
    let expires_at = file["perennial"]["access_expires_at"].as_u64().ok_or("no expiry in the file")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    if expires_at < now + MIN_TTL {
        return Err("the access token has expired".into());
    }
    let token = file["access_token"].as_str().ok_or("no access token in the file")?;
    writeln!(io::stdout(), "{token}")?;
    Ok(())
}
