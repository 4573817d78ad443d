//! A service whose machine has the wrong time: the same program again, with a library before it that changes the date.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;

use super::{System, until};

const READY_LIMIT: Duration = Duration::from_secs(180);
/// What its answers are dated with may be so far from what it was told.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);
const LIBRARY: &str = include_str!("clock_off.c");

/// Dies with the test; `System::restart` brings the service back with the right time.
pub struct OffClock {
    child: Child,
    _library: TempDir,
}

impl Drop for OffClock {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl System {
    /// Stops a service and starts it again with the same settings and a clock that is off by so many hours. Returns
    /// when it is ready and its answers bear that date.
    pub async fn restart_with_clock_off(&mut self, name: &str, hours: i64) -> OffClock {
        let (folder, library) = library();
        let process = PathBuf::from(format!("/proc/{}", self.pid(name, 0)));
        let read =
            |what: &str| fs::read(process.join(what)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let environment = read("environ");
        let variables = environment.split(|byte| *byte == 0).filter_map(|line| {
            let equals = line.iter().position(|byte| *byte == b'=')?;
            let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            Some((text(&line[..equals]), text(&line[equals + 1..])))
        });
        let program = fs::read_link(process.join("exe")).unwrap_or_else(|error| panic!("{error}"));
        let service = self.service(name).clone();
        let log = OpenOptions::new().append(true).open(&service.log);
        let log = log.unwrap_or_else(|error| panic!("{}: {error}", service.log));
        let error_log = log.try_clone().unwrap_or_else(|error| panic!("{}: {error}", service.log));
        let mut command = Command::new(program);
        command.env_clear().envs(variables).stdin(Stdio::null()).stdout(log).stderr(error_log);
        command.env("LD_PRELOAD", library).env("CLOCK_OFF_SECONDS", (hours * 3_600).to_string());

        self.stop(name).await;
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let off = OffClock { child, _library: folder };
        let url = format!("{}/readyz", service.admin);
        let date = until(&format!("{name} to be ready, {hours} hours off"), READY_LIMIT, async || {
            let answer = self.http.get(&url).send().await.ok()?;
            let date = answer.headers().get("date")?.to_str().ok()?.to_owned();
            answer.status().is_success().then_some(date)
        })
        .await;
        let told = DateTime::parse_from_rfc2822(&date).unwrap_or_else(|error| panic!("{date}: {error}"));
        let wrong_by = told.to_utc() - Utc::now() - TimeDelta::hours(hours);
        assert!(wrong_by.abs() < TOLERANCE, "{name} has the time {date}, and was to be {hours} hours off");
        off
    }
}

/// Compiled anew: the C compiler is there, since the Kafka client needs it.
fn library() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder: {error}"));
    let library = folder.path().join("clock_off.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-x", "c", "-", "-o"]).arg(&library).stdin(Stdio::piped());
    let mut compiling = compiler.spawn().unwrap_or_else(|error| panic!("cc: {error}"));
    let written = compiling.stdin.take().map(|mut input| input.write_all(LIBRARY.as_bytes()));
    let done = compiling.wait().is_ok_and(|status| status.success());
    assert!(done && written.is_some_and(|written| written.is_ok()), "cc does not compile clock_off.c");
    (folder, library)
}
