//! Headless Chromium, driven over the `WebDriver` protocol.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Process, site::exchange, until};

/// A browser with one window; closed when dropped.
#[derive(Debug)]
pub struct Browser {
    driver: SocketAddr,
    session: String,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Browser {
    /// With a window of that size in light or dark mode.
    ///
    /// # Errors
    /// When it cannot be started; `scripts/setup.sh test` installs it.
    pub fn start((width, height): (u32, u32), is_dark: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let driver = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", driver.port()));
        let process = Process::start(&mut command, folder.path().join("chromedriver.log"))?;
        until("chromedriver to listen", || Ok(TcpStream::connect(driver).ok()))?;
        let mut args = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", folder.path().join("profile").display()),
        ];
        if is_dark {
            args.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" }, "unhandledPromptBehavior": "ignore",
        } } });
        let (status, answer) = exchange(driver, "POST", "/session", &wanted)?;
        ensure!(status == 200, "no session: {answer}");
        let session = answer.pointer("/value/sessionId").and_then(Value::as_str).context("no session id")?;
        let session = session.to_owned();
        Ok(Self { driver, session, _process: process, _folder: folder })
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let path = format!("/session/{}/{path}", self.session);
        let (status, mut answer) = exchange(self.driver, method, &path, body)?;
        ensure!(status == 200, "{method} {path}: {answer}");
        Ok(answer.get_mut("value").map(Value::take).unwrap_or_default())
    }

    /// Goes to a page and waits until it is loaded.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn open(&self, url: &str) -> Result<()> {
        self.command("POST", "url", &json!({ "url": url })).map(drop)
    }

    /// What a script answers, e.g. `return document.title`.
    ///
    /// # Errors
    /// When it throws.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.command("POST", "execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The visible text of the page.
    ///
    /// # Errors
    /// When there is no page.
    pub fn text(&self) -> Result<String> {
        let text = self.run("return document.body.innerText")?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page shows `words`.
    ///
    /// # Errors
    /// When it does not for two minutes; with what it shows.
    pub fn wait_for(&self, words: &str) -> Result<()> {
        let shown = until(words, || Ok(Some(self.text()?).filter(|text| text.contains(words))));
        shown.map(drop).with_context(|| format!("the page shows:\n{}", self.text().unwrap_or_default()))
    }

    /// Presses keys where the focus is.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn press(&self, keys: &str) -> Result<()> {
        let actions = keys.chars().flat_map(|key| {
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        });
        let actions: Vec<Value> = actions.collect();
        let keyboard = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.command("POST", "actions", &keyboard).map(drop)
    }

    /// Says yes to a question of the page.
    ///
    /// # Errors
    /// When it asks nothing.
    pub fn confirm(&self) -> Result<()> {
        self.command("POST", "alert/accept", &json!({})).map(drop)
    }

    /// What the browser complained of: errors of scripts, refused resources, broken policies.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let entries = self.command("POST", "se/log", &json!({ "type": "browser" }))?;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let severe =
            entries.iter().filter(|entry| entry.get("level").and_then(Value::as_str) == Some("SEVERE"));
        Ok(severe.map(ToString::to_string).collect())
    }

    /// Milliseconds from the request to the first paint with content.
    ///
    /// # Errors
    /// When nothing was painted.
    pub fn first_paint_ms(&self) -> Result<f64> {
        until("the first paint", || {
            let paint = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
            Ok(self.run(paint)?.as_f64())
        })
    }

    /// Writes what the window shows as a PNG file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn screenshot(&self, file: &Path) -> Result<()> {
        let image = self.command("GET", "screenshot", &Value::Null)?;
        let image = bytes_of(image.as_str().context("no image")?).context("the image is not base64")?;
        std::fs::write(file, image).with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = exchange(self.driver, "DELETE", &format!("/session/{}", self.session), &Value::Null);
    }
}

/// The bytes of text in base64.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter)?;
        held = (held << 6) | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}
