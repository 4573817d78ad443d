//! `fulfil load run`, as a benchmark uses it.

use e2e::system::System;
use serde_json::Value;

#[tokio::test]
async fn a_load_is_measured_from_outside_and_adds_up() {
    let system = System::shared().await;
    let mix = "completed=7,out_of_stock=1,declined=1,cancelled=1";
    for via in ["topic", "http"] {
        let said = system.cli(&[
            "load",
            "run",
            "--json",
            "--orders",
            "200",
            "--warm-up",
            "20",
            "--via",
            via,
            "--mix",
            mix,
            "--lines",
            "2",
            "--hot-share",
            "0.5",
        ]);
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let orders = |what: &str| report["orders"][what].as_u64().unwrap();
        assert_eq!((orders("sent"), orders("accepted")), (200, 200), "{report}");
        assert_eq!(orders("completed") + orders("settled"), 200, "{report}");
        assert_eq!(orders("completed_in_view"), orders("completed"), "{report}");
        assert!(orders("settled") > 0, "{report}");
        assert_eq!(report["violations"], Value::Array(Vec::new()), "{report}");
        for figure in [
            "/orders_per_s",
            "/p50_ms",
            "/p95_ms",
            "/p99_ms",
            "/max_ms",
            "/cpu_s_per_1000/app",
            "/cpu_s_per_1000/kafka",
            "/cpu_s_per_1000/postgres",
            "/rss_mb",
            "/bytes_per_order/topics",
            "/bytes_per_order/order-service",
        ] {
            let figure_of = report.pointer(figure).and_then(Value::as_f64);
            assert!(figure_of.is_some_and(|value| value > 0.0), "{figure} of {report}");
        }
        assert_eq!(report["answer"].is_object(), via == "http", "{report}");
        let durability = &report["durability"];
        assert_eq!((&durability["fsync"], &durability["acks"]), (&"on".into(), &"all".into()));
        assert_eq!(durability["synchronous_commit"]["order-service"], "on");
    }
}

/// More than a second's orders in a tenth of it would be a closed loop in disguise.
#[tokio::test]
async fn an_open_loop_keeps_its_rate() {
    let system = System::shared().await;
    let said = system.cli(&["load", "run", "--json", "--rate", "20/s", "--duration", "2s"]);
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(report["orders"]["completed"], 40, "{report}");
    // The last is due 1.95 s after the first.
    assert!(report["seconds"].as_f64().unwrap() > 1.95, "{report}");
}
