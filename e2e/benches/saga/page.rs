//! `BENCHMARKS.md` and its plots, from what was measured. Nobody edits them.

use std::{fmt::Write, fs, path::Path};

use crate::{
    backlog::Backlog,
    floor::Figures,
    panels, plot,
    results::Results,
    run::{Run, median, together},
    target::targets,
};

const FILE: &str = "BENCHMARKS.md";
const PLOTS: &str = "benchmarks";

pub(crate) fn write(folder: &Path, results: &Results) -> anyhow::Result<()> {
    fs::create_dir_all(folder.join(PLOTS))?;
    for (name, panels) in [
        ("load", panels::load(results)),
        ("goodput", panels::goodput(results)),
        ("log", panels::log(results)),
    ] {
        fs::write(folder.join(PLOTS).join(format!("{name}.svg")), plot::svg(&panels)?)?;
    }
    fs::write(folder.join(FILE), page(results)?)?;
    Ok(())
}

fn page(results: &Results) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    head(&mut page, results)?;
    verdicts(&mut page, results)?;
    rounds(&mut page, results)?;
    load(&mut page, results)?;
    log(&mut page, results)?;
    restarts(&mut page, results)?;
    backlog(&mut page, results)?;
    ratios(&mut page, results)?;
    storage(&mut page, results)?;
    Ok(page)
}

fn head(page: &mut String, results: &Results) -> std::fmt::Result {
    let machine = &results.machine;
    let Results { command, began, minutes, commit, .. } = results;
    writeln!(
        page,
        "# Benchmarks\n\n\
         Written by `make bench-sweeps` from [benchmarks/results.json](benchmarks/results.json); do not edit it. \
         How it measures: [README.md](README.md#benchmark).\n\n\
         * Command: `{command}`\n\
         * Machine: {} cores, {} MiB of memory, {}, {}; Kafka, Postgres, the services and the load generator on it\n\
         * Begun: {began}, for {minutes:.0} minutes\n\
         * Commit: {commit}\n",
        machine.cores, machine.memory_mib, machine.cpu, machine.system,
    )
}

fn verdicts(page: &mut String, results: &Results) -> std::fmt::Result {
    let rows = targets(results).into_iter().map(|target| {
        let verdict = if target.is_met { "met" } else { "**not met**" };
        vec![target.what, target.wanted, target.measured, verdict.to_owned()]
    });
    writeln!(page, "## Targets\n")?;
    table(page, &["", "target", "measured", ""], rows)?;
    writeln!(page)
}

fn rounds(page: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(
        page,
        "## The floors and the product in turn\n\n\
         A floor takes the durable steps of an order, of 7 or of all 12 events, with no logic. Orders come over the \
         topic; latency is from when an order was due until the view had its end, so saturated it is how long it \
         waited behind the others. The load generator's CPU is apart; a floor generates its load itself.\n",
    )?;
    for (what, rounds) in [
        ("saturated".to_owned(), &results.rounds.saturated),
        (format!("{} orders/s", results.paced_rate), &results.rounds.paced),
    ] {
        let floors = rounds.iter().enumerate().flat_map(|(number, round)| {
            let number = number + 1;
            [
                floor_row(number, "floor of 7", &round.seven),
                floor_row(number, "floor of 12", &round.twelve),
                run_row(number, &round.ours),
            ]
        });
        let header = [
            what.as_str(),
            "",
            "orders/s",
            "p50 ms",
            "p99 ms",
            "CPU s per 1,000: app + Kafka + Postgres",
            "together",
            "generator",
            "RSS MB",
        ];
        table(page, &header, floors)?;
        let of_floor = |of: fn(&Run, &Figures) -> f64| {
            let of_seven = median(rounds.iter().map(|round| of(&round.ours, &round.seven)));
            let of_twelve = median(rounds.iter().map(|round| of(&round.ours, &round.twelve)));
            format!("{of_seven:.2} and {of_twelve:.2}")
        };
        writeln!(
            page,
            "\nMedians of the ratios to the floors of 7 and of 12 within each round: {} of the orders/s, {} times the \
             CPU, {} times the p50, {} times the p99.\n",
            of_floor(|ours, floor| ours.orders_per_s / floor.orders_per_s),
            of_floor(|ours, floor| ours.cpu() / together(&floor.cpu_s_per_1000)),
            of_floor(|ours, floor| ours.latency.p50_ms / floor.latency.p50_ms),
            of_floor(|ours, floor| ours.latency.p99_ms / floor.latency.p99_ms),
        )?;
    }
    Ok(())
}

fn floor_row(number: usize, who: &str, floor: &Figures) -> Vec<String> {
    let cpu = &floor.cpu_s_per_1000;
    vec![
        number.to_string(),
        who.to_owned(),
        format!("{:.0}", floor.orders_per_s),
        format!("{:.1}", floor.latency.p50_ms),
        format!("{:.1}", floor.latency.p99_ms),
        format!("{:.3} + {:.3} + {:.3}", cpu.app, cpu.kafka, cpu.postgres),
        format!("{:.3}", together(cpu)),
        String::new(),
        String::new(),
    ]
}

fn run_row(number: usize, run: &Run) -> Vec<String> {
    let cpu = &run.cpu_s_per_1000;
    vec![
        number.to_string(),
        "fulfil".to_owned(),
        format!("{:.0}", run.orders_per_s),
        format!("{:.1}", run.latency.p50_ms),
        format!("{:.1}", run.latency.p99_ms),
        format!("{:.3} + {:.3} + {:.3}", cpu.app, cpu.kafka, cpu.postgres),
        format!("{:.3}", run.cpu()),
        format!("{:.3}", cpu.generator),
        format!("{:.0}", run.rss_mb),
    ]
}

fn load(page: &mut String, results: &Results) -> std::fmt::Result {
    let sweep = &results.load;
    writeln!(
        page,
        "## Load\n\n\
         Over HTTP, where a closed loop gets {:.0} orders/s through; rates are shares of that, sent evenly whatever \
         becomes of the orders before. Whoever is not taken gets 503 and does not come back. Offered is what was \
         really sent and answered in a second: the generator shares the cores, and is the limit where that stays \
         below the rate; its lateness is in the latencies, which are those of the orders taken, from when they were \
         due. Completed is by the time until the last was in the view.\n\n\
         ![Throughput and latency against load](benchmarks/load.svg)\n\n\
         ![Goodput against offered load](benchmarks/goodput.svg)\n",
        sweep.saturated.orders_per_s,
    )?;
    let rows = sweep.steps.iter().map(|step| {
        let run = &step.paced.run;
        vec![
            format!("{}", step.share),
            format!("{:.0}", step.paced.rate),
            run.offered_per_s.map_or_else(String::new, |offered| format!("{offered:.0}")),
            format!("{:.0}", run.orders_per_s),
            format!("{:.1} %", 100.0 * step.refused()),
            run.orders.unanswered.to_string(),
            format!("{:.1}", run.latency.p50_ms),
            format!("{:.1}", run.latency.p99_ms),
            run.answer.map_or_else(String::new, |answer| format!("{:.1}", answer.p99_ms)),
            format!("{:.3}", run.cpu()),
            format!("{:.0}", run.rss_mb),
        ]
    });
    let header = [
        "share",
        "rate/s",
        "offered/s",
        "completed/s",
        "not taken",
        "of them without an answer",
        "p50 ms",
        "p99 ms",
        "p99 ms of the answer",
        "CPU s per 1,000",
        "RSS MB",
    ];
    table(page, &header, rows)?;
    writeln!(page)
}

fn log(page: &mut String, results: &Results) -> std::fmt::Result {
    let sweep = &results.log;
    writeln!(
        page,
        "## Size of the log\n\n\
         One system; a floor of 7 events, which begins with empty logs each time, a saturated run and one at {} orders/s \
         in turn. The first run of all is cold and left out, and its orders are in the log.\n\n\
         ![Throughput, CPU and latency against the size of the log](benchmarks/log.svg)\n",
        sweep.paced_rate,
    )?;
    let rows = sweep.steps.iter().map(|step| {
        vec![
            step.orders_before.to_string(),
            step.floor.as_ref().map_or_else(String::new, |floor| format!("{:.0}", floor.orders_per_s)),
            format!("{:.0}", step.saturated.orders_per_s),
            step.of_floor().map_or_else(String::new, |share| format!("{share:.2}")),
            format!("{:.3}", step.saturated.cpu()),
            format!("{:.1}", step.paced.latency.p50_ms),
            format!("{:.1}", step.paced.latency.p99_ms),
            format!("{:.0}", step.saturated.rss_mb),
        ]
    });
    let paced = [format!("p50 ms at {}/s", sweep.paced_rate), format!("p99 ms at {}/s", sweep.paced_rate)];
    let header = [
        "orders before",
        "floor's orders/s",
        "orders/s, saturated",
        "of the floor",
        "CPU s per 1,000",
        &paced[0],
        &paced[1],
        "RSS MB",
    ];
    table(page, &header, rows)?;
    writeln!(page)
}

fn restarts(page: &mut String, results: &Results) -> std::fmt::Result {
    let Some(first) = results.restarts.first() else { return Ok(()) };
    writeln!(
        page,
        "## Restart\n\n\
         Seconds from when each process began until its `/readyz` answered 200, all four started at once on servers that \
         go on. The long log is order-service's, filled with copies of the orders in the short one.\n",
    )?;
    let names: Vec<&str> = first.seconds.keys().map(String::as_str).collect();
    let rows = results.restarts.iter().map(|restart| {
        let seconds = restart.seconds.values().map(|seconds| format!("{seconds:.2}"));
        [restart.events.to_string()].into_iter().chain(seconds).collect()
    });
    table(page, &[&["events in the log"], names.as_slice()].concat(), rows)?;
    writeln!(page)
}

fn backlog(page: &mut String, results: &Results) -> std::fmt::Result {
    let Some(Backlog { orders, left, seconds, rss_mb, rss_mb_by_service }) = &results.backlog else {
        return Ok(());
    };
    writeln!(
        page,
        "## Backlog\n\n\
         The services were started with {orders} orders on the topic and worked at them for {seconds} s; {left} were left, \
         and nobody waited for them. RSS in MB, the most of each and the most of all four at one moment.\n",
    )?;
    let header: Vec<&str> = rss_mb_by_service.keys().map(String::as_str).chain(["together"]).collect();
    let row = rss_mb_by_service.values().chain([rss_mb]).map(|mb| format!("{mb:.0}")).collect();
    table(page, &header, [row].into_iter())?;
    writeln!(page)
}

fn ratios(page: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(
        page,
        "## One thing changed\n\n\
         Saturated; baseline and change in turn, and the median over the pairs. Only the replicas are added after \
         their baseline. Where the work is the same, what counts is orders/s; else CPU s per 1,000 orders, by line \
         where there are more lines. Batches fenced in steady state with 2 replicas: {}.\n",
        results.fenced_batches,
    )?;
    let rows = results.ratios.iter().map(|ratio| {
        let (baseline, changed) = ratio.medians();
        let (unit, digits) =
            if ratio.change.is_throughput() { ("orders/s", 0) } else { ("CPU s per 1,000 orders", 3) };
        vec![
            ratio.change.name().to_owned(),
            unit.to_owned(),
            format!("{baseline:.digits$}"),
            format!("{changed:.digits$}"),
            format!("{:.2}", ratio.value()),
        ]
    });
    table(page, &["change", "", "baseline", "changed", "ratio"], rows)?;
    writeln!(page)
}

fn storage(page: &mut String, results: &Results) -> std::fmt::Result {
    let Some(last) = results.rounds.saturated.last().map(|round| &round.ours) else { return Ok(()) };
    let rows = last.bytes_per_order.keys().map(|name| {
        let bytes = |run: &Run| run.bytes_per_order.get(name).copied().unwrap_or(f64::NAN);
        vec![name.clone(), format!("{:.0}", results.saturated(bytes))]
    });
    writeln!(page, "## Storage\n\nBytes an order, medians of the saturated rounds.\n")?;
    table(page, &["", "bytes"], rows)?;
    let durability = &last.durability;
    let commits: Vec<String> =
        durability.synchronous_commit.iter().map(|(name, on)| format!("{name} {on}")).collect();
    writeln!(
        page,
        "\nAs read back from the servers: `fsync` {}; `synchronous_commit` {}. `acks` as the services' client is told: \
         {}.\n",
        durability.fsync,
        commits.join(", "),
        durability.acks,
    )?;
    let runs = || results.rounds.saturated.iter().chain(&results.rounds.paced).map(|round| &round.ours);
    let sent: usize = runs().map(|run| run.orders.sent).sum();
    let rows: usize = runs().map(|run| run.orders.completed_in_view).sum();
    writeln!(page, "Of {sent} orders sent in the rounds, {rows} rows of the view say completed.")
}

fn table(page: &mut String, header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> std::fmt::Result {
    writeln!(page, "| {} |", header.join(" | "))?;
    writeln!(page, "|{}", "---|".repeat(header.len()))?;
    for row in rows {
        writeln!(page, "| {} |", row.join(" | "))?;
    }
    Ok(())
}
