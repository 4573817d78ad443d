//! Every crate we build on has a licence that `deny.toml` allows, comes from crates.io or this workspace, and is not
//! on its list of bans. `cargo deny` asks more, but must be compiled for minutes; this is what the gate always has.

use std::{env, fs, path::Path, process::Command};

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[test]
fn every_dependency_is_one_that_deny_toml_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let deny: Deny = toml::from_str(&fs::read_to_string(root.join("deny.toml")).unwrap()).unwrap();
    let output = Command::new(env::var_os("CARGO").unwrap())
        // Not the crates of other platforms, which a machine that builds for this one has never downloaded.
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "host-tuple"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    assert!(metadata.packages.len() > 100, "cargo names all of them");
    let objections: Vec<String> =
        metadata.packages.iter().filter_map(|package| objection(package, &deny)).collect();
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

fn objection(package: &Package, deny: &Deny) -> Option<String> {
    let Package { name, version, license, source } = package;
    if let Some(ban) = deny.bans.deny.iter().find(|ban| ban.name == *name) {
        return Some(format!("{name} {version} is banned: {}", ban.reason));
    }
    // `None` is a folder of this workspace.
    if let Some(source) = source.as_ref().filter(|source| !source.ends_with("crates.io-index")) {
        return Some(format!("{name} {version} comes from {source}"));
    }
    match license {
        None => Some(format!("{name} {version} names no licence")),
        Some(license) if !is_allowed(license, &deny.licenses.allow) => {
            Some(format!("{name} {version} has licence {license}"))
        }
        Some(_) => None,
    }
}

/// SPDX: AND binds tighter than OR; the old way to write OR is a slash.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = alternatives(&mut words, allowed);
    verdict && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut verdict = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        verdict |= all_of(words, allowed);
    }
    verdict
}

fn all_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut verdict = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words, allowed);
    }
    verdict
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    match words.next() {
        Some("(") => {
            let verdict = alternatives(words, allowed);
            words.next_if_eq(&")").is_some() && verdict
        }
        Some(license) => {
            let license = match words.next_if_eq(&"WITH") {
                Some(_) => format!("{license} WITH {}", words.next().unwrap_or_default()),
                None => license.to_owned(),
            };
            allowed.contains(&license)
        }
        None => false,
    }
}

#[test]
fn a_licence_expression_is_read_as_spdx_means_it() {
    let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"].map(str::to_owned);
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "GPL-3.0 OR MIT AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in
        ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0", "Apache-2.0", "", "MIT GPL-3.0", "GPL-3.0 WITH MIT"]
    {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}
