//! A headless Chromium that a test drives by keys, as a person would.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// How long a page may take for anything; much, since tests share few cores.
const WITHIN: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a browser looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns and rows of the window, in CSS pixels.
    pub size: (u32, u32),
    /// Whether its user likes dark pages.
    pub is_dark: bool,
}

/// A browser with one window; it ends when dropped.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    driver: Child,
    // Its reader is kept so that the driver can go on writing.
    _output: BufReader<ChildStdout>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts Chromium through its driver.
    ///
    /// # Errors
    /// When one of them is not installed (`scripts/setup.sh test`) or does not start.
    pub async fn start(look: Look) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver does not start; `scripts/setup.sh test` installs it")?;
        let mut output = BufReader::new(driver.stdout.take().context("the driver has no output")?);
        let port = port_of(&mut output)?;
        let mut arguments = vec![
            "--headless=new".to_owned(),
            // Tests may run as root, in containers with little shared memory and without a GPU.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--window-size={},{}", look.size.0, look.size.1),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        if look.is_dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let capabilities = json!({ "browserName": "chrome", "goog:chromeOptions": { "args": arguments } });
        let Value::Object(capabilities) = capabilities else { bail!("capabilities are an object") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("the driver starts no Chromium")?;
        Ok(Self { client, driver, _output: output, _profile: profile })
    }

    /// Opens a page.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub async fn open(&self, url: &str) -> Result<()> {
        Ok(self.client.goto(url).await?)
    }

    /// Presses keys, one after the other, where the focus is.
    ///
    /// # Errors
    /// When the page takes none.
    pub async fn press(&self, keys: &str) -> Result<()> {
        for key in keys.chars() {
            self.client.active_element().await?.send_keys(&key.to_string()).await?;
        }
        Ok(())
    }

    /// Waits until an expression of JavaScript is true.
    ///
    /// # Errors
    /// When it is not in time; with what the page shows.
    pub async fn until(&self, expression: &str) -> Result<()> {
        let deadline = tokio::time::Instant::now() + WITHIN;
        while self.value(expression).await? != Value::Bool(true) {
            if tokio::time::Instant::now() > deadline {
                bail!("`{expression}` did not become true on:\n{}", self.text("body").await?);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// The value of an expression of JavaScript.
    ///
    /// # Errors
    /// When it throws.
    pub async fn value(&self, expression: &str) -> Result<Value> {
        Ok(self.client.execute(&format!("return ({expression});"), Vec::new()).await?)
    }

    /// The visible text of an element.
    ///
    /// # Errors
    /// When there is none.
    pub async fn text(&self, css: &str) -> Result<String> {
        let element = self.client.find(Locator::Css(css)).await;
        Ok(element.with_context(|| format!("the page has no {css}"))?.text().await?)
    }

    /// Writes what the window shows as PNG.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn picture(&self, file: &Path) -> Result<()> {
        Ok(std::fs::write(file, self.client.screenshot().await?)?)
    }

    /// Ends the browser.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn close(self) -> Result<()> {
        Ok(self.client.clone().close().await?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver takes its browser along; it may have ended by itself.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn port_of(output: &mut BufReader<ChildStdout>) -> Result<u16> {
    let mut said = String::new();
    while output.read_line(&mut said)? > 0 {
        let port = said
            .lines()
            .find_map(|line| line.split_once("started successfully on port ")?.1.split('.').next());
        if let Some(port) = port {
            return Ok(port.parse()?);
        }
    }
    bail!("the driver names no port:\n{said}")
}
