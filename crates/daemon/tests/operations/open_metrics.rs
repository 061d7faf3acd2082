//! A strict reader of OpenMetrics 1.0 text, of its own: what the daemon writes is read by nothing that it is written with.

use std::collections::{BTreeMap, BTreeSet};

/// A page of numbers.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// What each family is.
    pub(crate) kinds: BTreeMap<String, String>,
    /// Each series, as it is written, with its value.
    pub(crate) series: BTreeMap<String, f64>,
}

impl Read {
    /// A number; panics where there is none.
    pub(crate) fn get(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} among {:#?}", self.series.keys()))
    }
}

/// Reads a page, or says what is wrong with it.
pub(crate) fn read(page: &str) -> Result<Read, String> {
    let body = page.strip_suffix("# EOF\n").ok_or("it does not end with # EOF")?;
    let mut read = Read::default();
    let mut family = String::new();
    let (mut is_helped, mut is_typed) = (BTreeSet::new(), BTreeSet::new());
    for line in body.split_terminator('\n') {
        if let Some(told) = line.strip_prefix("# ") {
            let mut words = told.splitn(3, ' ');
            let (what, name, rest) = (words.next(), words.next(), words.next());
            let (Some(what), Some(name), Some(rest)) = (what, name, rest) else {
                return Err(format!("a short line: {line}"));
            };
            if name != family {
                if read.kinds.contains_key(name) || is_helped.contains(name) {
                    return Err(format!("{name} comes twice"));
                }
                check_name(name)?;
                name.clone_into(&mut family);
            }
            match what {
                "HELP" if rest.ends_with('.') && !rest.contains('"') => {
                    if !is_helped.insert(name.to_owned()) {
                        return Err(format!("{name} is explained twice"));
                    }
                }
                "TYPE" => {
                    if !["counter", "gauge", "histogram", "info"].contains(&rest)
                        || !is_typed.insert(name.to_owned())
                    {
                        return Err(format!("not a type: {line}"));
                    }
                    read.kinds.insert(name.to_owned(), rest.to_owned());
                }
                "UNIT" if name.ends_with(&format!("_{rest}")) => {}
                _ => return Err(format!("not understood: {line}")),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').ok_or_else(|| format!("no value: {line}"))?;
        let value: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
        if !value.is_finite() {
            return Err(format!("no number: {line}"));
        }
        check_series(series, &family, read.kinds.get(&family).map(String::as_str))?;
        if read.series.insert(series.to_owned(), value).is_some() {
            return Err(format!("{series} comes twice"));
        }
    }
    if is_helped != is_typed {
        return Err("a family has no HELP or no TYPE".to_owned());
    }
    check_histograms(&read)?;
    Ok(read)
}

fn check_name(name: &str) -> Result<(), String> {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_lowercase());
    let rest = letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    let ends = ["_total", "_bucket", "_count", "_sum", "_created", "_info"];
    if first && rest && !name.contains("__") && !ends.iter().any(|end| name.ends_with(end)) {
        Ok(())
    } else {
        Err(format!("no name for a family: {name}"))
    }
}

fn check_series(series: &str, family: &str, kind: Option<&str>) -> Result<(), String> {
    let suffix = series.strip_prefix(family).ok_or_else(|| format!("{series} is not of {family}"))?;
    let (suffix, labels) =
        suffix.split_once('{').map_or((suffix, None), |(suffix, rest)| (suffix, Some(rest)));
    let suffixes: &[&str] = match kind {
        Some("counter") => &["_total"],
        Some("gauge") => &[""],
        Some("info") => &["_info"],
        Some("histogram") => &["_bucket", "_count", "_sum"],
        _ => return Err(format!("{series} has no type")),
    };
    if !suffixes.contains(&suffix) {
        return Err(format!("{series} does not end as a {kind:?} does"));
    }
    let Some(labels) = labels else { return Ok(()) };
    let labels = labels.strip_suffix("\"}").ok_or_else(|| format!("labels end nowhere: {series}"))?;
    let mut names = BTreeSet::new();
    for label in labels.split("\",") {
        let (name, value) = label.split_once("=\"").ok_or_else(|| format!("no label: {series}"))?;
        check_name(name)?;
        if value.contains(['"', '\\', '\n']) || value.len() > 80 || !names.insert(name) {
            return Err(format!("no label: {series}"));
        }
    }
    Ok(())
}

/// Buckets grow, the last one is +Inf, and it holds all.
fn check_histograms(read: &Read) -> Result<(), String> {
    let histograms = read.kinds.iter().filter(|(_, kind)| *kind == "histogram");
    for (name, _) in histograms {
        let counts = read.series.iter().filter(|(series, _)| series.starts_with(&format!("{name}_count")));
        for (series, count) in counts {
            let labels = series.trim_start_matches(&format!("{name}_count")).trim_matches(['{', '}']);
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for (series, count) in
                read.series.iter().filter(|(s, _)| s.starts_with(&format!("{name}_bucket{{")))
            {
                if !labels.is_empty() && !series.contains(labels) {
                    continue;
                }
                let bound = series.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"'));
                let bound = bound.ok_or_else(|| format!("no bound: {series}"))?.0;
                let bound = if bound == "+Inf" {
                    f64::INFINITY
                } else {
                    bound.parse().map_err(|_| bound.to_owned())?
                };
                buckets.push((bound, *count));
            }
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            if !buckets.is_sorted_by(|one, other| one.1 <= other.1) {
                return Err(format!("{name}: buckets shrink"));
            }
            match buckets.last() {
                Some((bound, all)) if bound.is_infinite() && all == count => {}
                _ => return Err(format!("{name}: the last bucket does not hold all")),
            }
        }
    }
    Ok(())
}

#[test]
fn the_reader_is_strict() {
    let good = "# HELP a_b Words.\n# TYPE a_b counter\na_b_total{x=\"1\"} 3\n# EOF\n";
    assert_eq!(read(good).unwrap().get("a_b_total{x=\"1\"}"), 3.0);
    for (what, bad) in [
        ("no end", good.replace("# EOF\n", "")),
        ("no type", good.replace("# TYPE a_b counter\n", "")),
        ("no help", good.replace("# HELP a_b Words.\n", "")),
        ("a counter without its suffix", good.replace("a_b_total", "a_b")),
        ("twice", good.replace("# EOF", "a_b_total{x=\"1\"} 3\n# EOF")),
        ("another family's", good.replace("a_b_total", "c_total")),
        ("no number", good.replace(" 3\n", " NaN\n")),
        ("capital letters", good.replace("a_b", "A_b")),
        ("a quote in a label", good.replace("x=\"1\"", "x=\"1\"2\"")),
    ] {
        assert!(read(&bad).is_err(), "{what}");
    }
}
