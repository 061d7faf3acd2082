//! Who calls over the unix socket: the kernel says of which user and group the process is.

use super::Caller;
use crate::config::{Glob, Peer, Right};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::sync::Arc;

/// What users and groups may do.
#[derive(Debug)]
pub(crate) struct Peers(Vec<Known>);

#[derive(Debug)]
struct Known {
    uid: Option<u32>,
    gid: Option<u32>,
    caller: Arc<Caller>,
}

impl Peers {
    /// Looks the names up. Without any, this process's own user and root may do everything.
    pub(crate) fn new(peers: &[Peer]) -> Result<Self, String> {
        if peers.is_empty() {
            let everything = || vec![Right::Token, Right::Proxy, Right::Admin];
            let known = |uid: Uid| Known {
                uid: Some(uid.as_raw()),
                gid: None,
                caller: Arc::new(Caller::new(
                    format!("uid {uid}"),
                    everything(),
                    vec![Glob::all()],
                    Vec::new(),
                    None,
                )),
            };
            return Ok(Self(vec![known(Uid::effective()), known(Uid::from_raw(0))]));
        }
        peers.iter().map(known).collect::<Result<_, _>>().map(Self)
    }

    /// The first entry that is about this process.
    pub(crate) fn caller(&self, uid: u32, gid: u32) -> Option<Arc<Caller>> {
        let is_in = |wanted: u32| wanted == gid || groups(uid, gid).contains(&wanted);
        let found =
            self.0.iter().find(|known| known.uid.is_none_or(|own| own == uid) && known.gid.is_none_or(is_in));
        found.map(|known| Arc::clone(&known.caller))
    }
}

fn known(peer: &Peer) -> Result<Known, String> {
    let uid = peer.user.as_deref().map(user).transpose()?;
    let gid = peer.group.as_deref().map(group).transpose()?;
    let name = [("user", &peer.user), ("group", &peer.group)]
        .into_iter()
        .filter_map(|(kind, name)| name.as_ref().map(|name| format!("{kind} {name}")))
        .collect::<Vec<_>>()
        .join(", ");
    let caller = Caller::new(name, peer.may.clone(), peer.allow.clone(), peer.forward.clone(), None);
    Ok(Known { uid, gid, caller: Arc::new(caller) })
}

fn user(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let found = User::from_name(text).ok().flatten();
    found.map(|user| user.uid.as_raw()).ok_or_else(|| format!("[[access.peer]]: there is no user \"{text}\""))
}

fn group(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let found = Group::from_name(text).ok().flatten();
    found
        .map(|group| group.gid.as_raw())
        .ok_or_else(|| format!("[[access.peer]]: there is no group \"{text}\""))
}

/// Every group of a user; a process says only its first.
fn groups(uid: u32, gid: u32) -> Vec<u32> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let name = user.and_then(|user| CString::new(user.name).ok());
    let groups = name.and_then(|name| getgrouplist(&name, Gid::from_raw(gid)).ok());
    groups.unwrap_or_default().into_iter().map(Gid::as_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(user: Option<&str>, group: Option<&str>) -> Peer {
        let text = |name: Option<&str>| name.map(str::to_owned);
        Peer {
            user: text(user),
            group: text(group),
            allow: vec![Glob::all()],
            may: vec![Right::Token],
            forward: Vec::new(),
        }
    }

    #[test]
    fn users_and_groups_are_told_apart() {
        let peers =
            Peers::new(&[peer(Some("4711"), None), peer(None, Some("4712")), peer(Some("7"), Some("8"))]);
        let peers = peers.unwrap();
        let name = |uid, gid| peers.caller(uid, gid).map(|caller| caller.name.clone());
        assert_eq!(name(4711, 1).as_deref(), Some("user 4711"));
        assert_eq!(name(1, 4712).as_deref(), Some("group 4712"));
        assert_eq!(name(7, 8).as_deref(), Some("user 7, group 8"));
        assert_eq!(name(7, 9), None);
        assert!(Peers::new(&[peer(Some("nobody-of-that-name"), None)]).is_err());
    }

    #[test]
    fn without_any_the_own_user_and_root_may_do_everything() {
        let peers = Peers::new(&[]).unwrap();
        assert!(peers.caller(Uid::effective().as_raw(), 1).unwrap().may(Right::Admin));
        assert!(peers.caller(0, 0).is_some() && peers.caller(4_000_000, 4_000_000).is_none());
    }
}
