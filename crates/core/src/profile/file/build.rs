//! From a file to a profile: its texts become plain references, which every reader can hold. There are few profiles, and
//! they are never forgotten.

use super::{Parts, Row, ServerPart, words};
use crate::profile::generic::careful;
use crate::profile::{Blank, ErrorCode, Profile, Quirk, Source, Template};
use crate::verdict::Verdict;
use std::time::Duration;
use toml::Spanned;

fn kept(text: impl Into<String>) -> &'static str {
    Box::leak(text.into().into_boxed_str())
}

fn all_kept<T>(items: impl IntoIterator<Item = T>) -> &'static [T] {
    Box::leak(items.into_iter().collect::<Vec<_>>().into_boxed_slice())
}

fn text(text: Option<Spanned<String>>) -> Option<&'static str> {
    text.map(|text| kept(text.into_inner()))
}

pub(super) fn profile(parts: Parts) -> Profile {
    let references = parts.references();
    let sources: Vec<_> = parts.sources.iter().map(|source| supported(source, &references)).collect();
    let notes = parts.facts.stated().filter_map(|(about, key, note)| {
        let text = kept(note?.get_ref().as_str());
        Some(Quirk { about: Some(about), text, source: kept(key.get_ref().as_str()) })
    });
    let others = parts.quirks.iter().map(|quirk| Quirk {
        about: None,
        text: kept(quirk.text.get_ref().as_str()),
        source: kept(quirk.source.get_ref().as_str()),
    });
    let quirks = all_kept(notes.chain(others));
    let facts = parts.facts;
    let start = careful(kept(parts.name.into_inner()), kept(parts.title.into_inner()));
    let life = |fact: super::Fact<words::Written<words::Life>>| fact.is.into_inner().0.0;
    let time = |fact: Option<_>, default: Duration| fact.and_then(life).unwrap_or(default);
    let hosts = facts.hosts.map(|fact| fact.is.into_inner()).unwrap_or_default();
    Profile {
        replay: facts.replay.is.into_inner().0,
        rotation: facts.rotation.is.into_inner().0,
        assumed_access_lifetime: time(facts.access_lifetime, start.assumed_access_lifetime),
        assumed_refresh_lifetime: facts.refresh_lifetime.and_then(life),
        longest_grant: facts.longest_grant.and_then(life),
        refresh_expiry_is_absolute: facts.refresh_expiry.is_some_and(|fact| fact.is.into_inner().0.0),
        host_suffixes: all_kept(hosts.into_iter().map(|host| kept(host.into_inner()))),
        pause: time(facts.pause, start.pause),
        errors: all_kept(parts.errors.into_iter().map(row)),
        code_decides: facts.code_decides.is_some_and(|fact| fact.is.into_inner()),
        names_certificate: facts.names_certificate.is_some_and(|fact| fact.is.into_inner()),
        api_member: facts.api_member.map(|fact| kept(fact.is.into_inner())),
        template: template(parts.server),
        quirks,
        sources: all_kept(sources),
        ..start
    }
}

fn supported(source: &super::SourcePart, references: &[(String, &Spanned<String>)]) -> Source {
    let key = source.key.get_ref();
    let mut supports: Vec<&'static str> = Vec::new();
    for (what, _) in references.iter().filter(|(_, named)| named.get_ref() == key) {
        if !supports.contains(&what.as_str()) {
            supports.push(kept(what.as_str()));
        }
    }
    Source {
        key: kept(key.as_str()),
        title: kept(source.title.get_ref().as_str()),
        address: Some(kept(source.address.get_ref().as_str())),
        supports: all_kept(supports),
    }
}

fn row(row: Row) -> ErrorCode {
    let both = row.verdict.map(|word| word.0);
    let verdict = |own: Option<words::Written<Verdict>>| own.map(|word| word.0).or(both);
    ErrorCode {
        code: row.code.map(Spanned::into_inner),
        error: text(row.error).unwrap_or_default(),
        suberror: text(row.suberror),
        description: text(row.description),
        meaning: kept(row.meaning.into_inner()),
        // Both have been looked for.
        obtaining: verdict(row.obtaining).unwrap_or(Verdict::Unknown),
        refreshing: verdict(row.refreshing).unwrap_or(Verdict::Unknown),
        source: kept(row.source.into_inner()),
    }
}

fn template(server: ServerPart) -> Template {
    Template {
        blanks: all_kept(server.blanks.into_iter().map(|blank| Blank {
            name: kept(blank.name.into_inner()),
            kind: blank.kind.0,
            meaning: kept(blank.meaning.into_inner()),
            default: text(blank.default),
        })),
        issuer: text(server.issuer),
        discovers: server.discovers.is_some_and(Spanned::into_inner),
        token: text(server.token),
        authorization: text(server.authorization),
        device_authorization: text(server.device_authorization),
        revocation: text(server.revocation),
        introspection: text(server.introspection),
        keys: text(server.keys),
        api: text(server.api),
        authentication: server.authentication.map(|word| word.0),
        audience: text(server.audience),
        scope: text(server.scope),
        authorize: all_kept(
            server
                .authorize
                .into_iter()
                .map(|(name, value)| (kept(name.into_inner()), kept(value.into_inner()))),
        ),
    }
}
