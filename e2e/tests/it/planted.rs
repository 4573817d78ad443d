//! The planted bugs still apply to the code as it is: whether the tests see them is shown by `make planted-bugs`.

use std::{fs, path::Path, process::Command};

/// The bugs that the tests must see.
const BUGS: [&str; 14] = [
    "append-without-compare",
    "cursor-before-acks",
    "deadline-ignores-lag",
    "identity-column",
    "key-made-anew",
    "key-not-held",
    "late-authorization-not-voided",
    "letter-error-ignored",
    "no-compare-and-set",
    "no-source-versions",
    "no-tombstone",
    "positions-outside-the-transaction",
    "relay-before-the-standby",
    "transient-as-poison",
];

#[test]
fn every_planted_bug_applies_to_the_tree_and_says_who_sees_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("e2e/planted")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let field = |field: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
            value.unwrap_or_else(|| panic!("{name} lacks {field}")).to_owned()
        };
        assert!(!field("Bug").is_empty());
        assert!(root.join(field("Crate")).join("Cargo.toml").is_file(), "{name} names no crate");
        let caught = field("Caught-by");
        let (_, test) = caught.split_once(' ').unwrap_or_else(|| panic!("{name} names no test"));
        assert!(test.contains("::"), "{name} names no test");
        assert_applies(&root, &path);
        found.push(name);
    }
    found.sort();
    assert_eq!(found, BUGS);
}

/// `make upgrade` builds it.
#[test]
fn the_patch_of_the_next_build_applies_to_the_tree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert_applies(&root, &root.join("e2e/next.patch"));
}

fn assert_applies(root: &Path, patch: &Path) {
    // Outside a repository it works on files alone.
    let output = Command::new("git")
        .args(["apply", "--check", "--whitespace=nowarn"])
        .arg(fs::canonicalize(patch).unwrap())
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}: {}", patch.display(), String::from_utf8_lossy(&output.stderr));
}
