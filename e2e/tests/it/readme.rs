//! The README does not lie: its table is drawn from the choreography, and its commands are run.

use std::{env, fs, path::PathBuf, process::Output, time::Duration};

use e2e::system::{System, programs, until};
use shared::choreography::Choreography;
use tokio::process::Command;

const BEGIN: &str = "<!-- saga -->\n";
const END: &str = "<!-- /saga -->";
const VIEW_LIMIT: Duration = Duration::from_secs(180);

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// `UPDATE=1` draws it anew.
#[test]
fn the_saga_table_is_drawn_from_the_choreography() {
    let choreography = fs::read_to_string(file("shared/choreography.toml")).unwrap();
    let table = Choreography::parse(&choreography).unwrap().markdown();
    let readme = fs::read_to_string(file("README.md")).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README has the marker");
    let (drawn, after) = rest.split_once(END).expect("the README has the end marker");
    if env::var_os("UPDATE").is_some() {
        fs::write(file("README.md"), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(drawn, table, "run this test with UPDATE=1");
    }
}

/// What a reader types goes to the system of the tests: its addresses take the place of the usual ones, waits last as long
/// as a slow machine needs, curl fails where it is refused, and of thousands there are hundreds, since each test that shares
/// the system reads all of it at its end.
#[tokio::test]
async fn the_commands_of_the_readme_work() {
    let system = System::shared().await;
    let readme = fs::read_to_string(file("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Try it\n").expect("the README has the section");
    let (section, _) = section.split_once("\n## ").expect("another section follows");
    let blocks: Vec<&str> =
        section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 4, "the section has its commands");
    let http = |name: &str| system.service(name).http.clone();
    let replaced = [
        ("curl ", "curl --fail --show-error ".to_owned()),
        ("--wait ", "--timeout 5m --wait ".to_owned()),
        ("--within 2m", "--within 5m".to_owned()),
        ("-n 1000 ", "-n 100 ".to_owned()),
        ("--orders 2000", "--orders 200".to_owned()),
        ("deploy/", format!("{}/", file("deploy").display())),
        ("127.0.0.1:9092", system.status.kafka.clone()),
        ("127.0.0.1:8081", http("order-service")),
        ("127.0.0.1:8080", http("projector")),
    ];
    for block in blocks {
        if block.contains("kcat") && !has("kcat") {
            eprintln!("skipped: there is no kcat on this machine");
            continue;
        }
        // What starts a system and what watches until it is stopped: the others are the test.
        let runs =
            |line: &&str| !["fulfil dev", "fulfil topic watch"].iter().any(|start| line.starts_with(start));
        let lines: Vec<&str> = block.lines().filter(runs).collect();
        let mut script =
            replaced.iter().fold(lines.join("\n"), |text, (usual, ours)| text.replace(usual, ours));
        let makes_an_order = block.contains("kcat");
        if makes_an_order {
            script.push_str("\necho $id");
        }
        if block.contains("/stock/SKU-1") {
            let known =
                async || system.get("projector", "/stock/SKU-1").await.status.is_success().then_some(());
            until("the view to know SKU-1", VIEW_LIMIT, known).await;
        }
        let output = typed(&system, &script).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\nended with {}:\n{said}", output.status);
        if makes_an_order {
            let id = String::from_utf8(output.stdout).unwrap();
            assert_eq!(system.end(id.trim().parse().unwrap()).await, "completed");
        }
    }
}

/// In a shell that finds our programs, and whose programs find the system.
pub(crate) async fn typed(system: &System, script: &str) -> Output {
    let http = |name: &str| &system.service(name).http;
    Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("PATH", format!("{}:{}", programs().display(), env::var("PATH").unwrap()))
        .env("KAFKA_BOOTSTRAP_SERVERS", &system.status.kafka)
        .env("FULFIL_ORDER_SERVICE", http("order-service"))
        .env("FULFIL_INVENTORY_SERVICE", http("inventory-service"))
        .env("FULFIL_PROJECTOR", http("projector"))
        .output()
        .await
        .unwrap()
}

fn has(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap()).any(|folder| folder.join(program).exists())
}
