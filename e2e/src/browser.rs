//! A headless Chromium that the screens are used with, over its DevTools protocol: what the script of the page does is seen
//! only there.
//!
//! Source: the Chrome DevTools Protocol (Page, Runtime, Log, Input, Emulation).

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

const START_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const UNTIL_LIMIT: Duration = Duration::from_secs(60);

/// Dropped it is killed.
pub struct Browser {
    _child: Child,
    _profile: tempfile::TempDir,
    port: u16,
}

/// One tab.
pub struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    asked: u64,
    /// What the page itself complained about: exceptions, refused resources, violations of its policy.
    pub complaints: Vec<String>,
}

/// Where Debian and others have it.
pub fn chromium() -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    env::split_paths(&paths).flat_map(|path| names.map(|name| path.join(name))).find(|path| path.is_file())
}

impl Browser {
    pub async fn start(chromium: &Path) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir()?;
        let child = Command::new(chromium)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting chromium")?;
        // It writes the port that it took, and on a second line where to connect.
        let told = profile.path().join("DevToolsActivePort");
        let deadline = Instant::now() + START_LIMIT;
        let port = loop {
            let port = fs::read_to_string(&told).ok().and_then(|text| text.lines().next()?.parse().ok());
            match port {
                Some(port) => break port,
                None if Instant::now() > deadline => bail!("chromium did not say its port"),
                None => sleep(Duration::from_millis(50)).await,
            }
        };
        Ok(Self { _child: child, _profile: profile, port })
    }

    pub async fn page(&self) -> anyhow::Result<Page> {
        let url = format!("http://127.0.0.1:{}/json/new?about:blank", self.port);
        let tab: Value = reqwest::Client::new().put(url).send().await?.json().await?;
        let address = tab["webSocketDebuggerUrl"].as_str().context("no address of the tab")?;
        let (socket, _) = connect_async(address).await?;
        let mut page = Page { socket, asked: 0, complaints: Vec::new() };
        for domain in ["Page", "Runtime", "Log"] {
            page.ask(&format!("{domain}.enable"), json!({})).await?;
        }
        page.size(1300, 900).await?;
        Ok(page)
    }
}

impl Page {
    /// What happens meanwhile is looked through for complaints.
    async fn ask(&mut self, method: &str, parameters: Value) -> anyhow::Result<Value> {
        self.asked += 1;
        let asked = json!({"id": self.asked, "method": method, "params": parameters});
        self.socket.send(Message::text(asked.to_string())).await?;
        let answered = timeout(ANSWER_LIMIT, async {
            loop {
                let message = self.socket.next().await.context("chromium is gone")??;
                let Message::Text(text) = message else { continue };
                let answer: Value = serde_json::from_str(&text)?;
                if answer["id"] == self.asked {
                    return Ok::<Value, anyhow::Error>(answer);
                }
                self.complaints.extend(complaint(&answer));
            }
        });
        let answer = answered.await.with_context(|| format!("{method} was not answered"))??;
        match answer.get("error") {
            Some(error) => bail!("{method}: {error}"),
            None => Ok(answer["result"].clone()),
        }
    }

    pub async fn open(&mut self, url: &str) -> anyhow::Result<()> {
        self.ask("Page.navigate", json!({"url": url})).await?;
        let wanted = url.split('#').next().unwrap_or(url);
        self.until(&format!(
            "document.readyState === 'complete' && location.href.startsWith({})",
            json!(wanted)
        ))
        .await
        .with_context(|| format!("opening {url}"))?;
        // Nobody is here to be asked.
        self.eval("window.confirm = () => true").await?;
        Ok(())
    }

    /// The value of an expression, awaited where it is a promise.
    pub async fn eval(&mut self, expression: &str) -> anyhow::Result<Value> {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.ask("Runtime.evaluate", parameters).await?;
        match answer.get("exceptionDetails") {
            Some(thrown) => bail!("{expression}: {}", thrown["exception"]["description"]),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Until an expression is true; fails with what the page showed instead.
    pub async fn until(&mut self, expression: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + UNTIL_LIMIT;
        loop {
            // While a page is left for another, nothing can be asked of either.
            let is = self.eval(&format!("Boolean({expression})")).await;
            match is {
                Ok(Value::Bool(true)) => return Ok(()),
                _ if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
                other => {
                    let shown = self.eval("location.href + ' ' + document.body.innerText").await;
                    bail!("never so: {expression} ({other:?}); shown: {shown:?}");
                }
            }
        }
    }

    /// Clicks what a selector finds first.
    pub async fn click(&mut self, selector: &str) -> anyhow::Result<()> {
        let selector = json!(selector);
        self.until(&format!("document.querySelector({selector})")).await?;
        self.eval(&format!("document.querySelector({selector}).click()")).await?;
        Ok(())
    }

    /// Fills in a field, as far as scripts see it.
    pub async fn fill(&mut self, selector: &str, value: &str) -> anyhow::Result<()> {
        let (selector, value) = (json!(selector), json!(value));
        self.until(&format!("document.querySelector({selector})")).await?;
        let set = format!(
            "(() => {{ const field = document.querySelector({selector}); field.value = {value};
               field.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        );
        self.eval(&set).await?;
        Ok(())
    }

    /// Presses a key that writes this.
    pub async fn press(&mut self, text: &str) -> anyhow::Result<()> {
        for kind in ["keyDown", "keyUp"] {
            self.ask("Input.dispatchKeyEvent", json!({"type": kind, "text": text, "key": text})).await?;
        }
        Ok(())
    }

    pub async fn size(&mut self, width: u32, height: u32) -> anyhow::Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", size).await?;
        Ok(())
    }

    /// `light` or `dark`.
    pub async fn scheme(&mut self, scheme: &str) -> anyhow::Result<()> {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", features).await?;
        Ok(())
    }

    /// All of the page, also what one would have to scroll to.
    pub async fn screenshot(&mut self, path: &Path) -> anyhow::Result<()> {
        let size = self.eval("[innerWidth, document.documentElement.scrollHeight]").await?;
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.ask("Page.captureScreenshot", parameters).await?;
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap_or_default())?;
        Ok(fs::write(path, bytes)?)
    }
}

fn complaint(event: &Value) -> Option<String> {
    let parameters = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
        "Log.entryAdded" if parameters["entry"]["level"] == "error" => {
            Some(format!("{} ({})", parameters["entry"]["text"], parameters["entry"]["url"]))
        }
        _ => None,
    }
}
