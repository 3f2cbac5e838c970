//! A fresh home with small data, and the real command in it.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clara_lifecycle::digest::Digest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const WORDS: [&str; 10] = [
    "Bauamt",
    "Gemeinde",
    "Antrag",
    "Bescheid",
    "Frist",
    "Nachbar",
    "Klage",
    "Satzung",
    "Planung",
    "Grundstück",
];

/// A file or folder of `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A program of the workspace; `make test` builds them all beside the test programs.
fn built(program: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let beside =
        test.parent().and_then(Path::parent).context("the test program lies in no folder")?.join(program);
    ensure!(
        beside.is_file(),
        "{} is not there; build it with `cargo build --workspace --bins`",
        beside.display()
    );
    Ok(beside)
}

/// A home of its own, with training data, a golden dataset and a specification for the tiny model.
#[derive(Debug)]
pub struct Sandbox {
    folder: tempfile::TempDir,
    /// Folder of jobs, registry and artifacts.
    pub home: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Ended {
    /// How `output` says that its command ended.
    ///
    /// # Errors
    /// When it said something that is no text.
    pub fn of(output: Output) -> Result<Self> {
        let Output { status, stdout, stderr } = output;
        let (stdout, stderr) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
        Ok(Self { code: status.code(), stdout, stderr })
    }

    /// Holds the command to an exit code.
    ///
    /// # Errors
    /// When it ended otherwise; with all it said.
    pub fn expect(self, code: i32) -> Result<Self> {
        let Self { code: found, stdout, stderr } = &self;
        ensure!(*found == Some(code), "exit code {found:?}, expected {code}\n{stdout}\n{stderr}");
        Ok(self)
    }

    /// Holds the command to having said every one of `parts`.
    ///
    /// # Errors
    /// When one is missing.
    pub fn says(self, parts: &[&str]) -> Result<Self> {
        let said = format!("{}\n{}", self.stdout, self.stderr);
        for part in parts {
            ensure!(said.contains(part), "`{part}` is missing in:\n{said}");
        }
        Ok(self)
    }

    /// The document on standard output.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not one JSON document:\n{}", self.stdout))
    }
}

impl Sandbox {
    /// With data and a short training of so many steps.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn new(steps: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let home = folder.path().join("home");
        let sandbox = Self { folder, home };
        fs::write(sandbox.path("training.jsonl"), training(24)?)?;
        fs::write(sandbox.path("golden.json"), golden(6).to_string())?;
        fs::write(sandbox.path("job.toml"), specification(steps))?;
        Ok(sandbox)
    }

    /// A path in the sandbox's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command in this home, without settings of the surroundings.
    ///
    /// # Errors
    /// When the command is not built.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        self.program("clara", args)
    }

    /// A program of the workspace in this home, without settings of the surroundings.
    ///
    /// # Errors
    /// When it is not built.
    pub fn program(&self, name: &str, args: &[&str]) -> Result<Command> {
        let mut program = Command::new(built(name)?);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CLARA_")) {
            program.env_remove(name);
        }
        program.current_dir(self.folder.path()).args(args).env("CLARA_HOME", &self.home);
        program.env("CLARA_LEASE__TTL", "2s").env("NO_COLOR", "1").env("USER", "anna");
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(program)
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn clara(&self, args: &[&str]) -> Result<Ended> {
        Ended::of(self.command(args)?.output()?)
    }

    /// The flags of `clara run` for this sandbox's data, then `more`.
    pub fn run_args(&self, more: &[&str]) -> Vec<String> {
        let model = fixture("tiny-llama").display().to_string();
        let mut args: Vec<String> = ["run", "--spec", "job.toml"].map(str::to_owned).into();
        let mut add = |flag: &str, value: &str| {
            if !more.contains(&flag) {
                args.extend([flag.to_owned(), value.to_owned()]);
            }
        };
        add("--domain", "law");
        add("--source", "training.jsonl");
        add("--golden-dataset", "golden.json");
        add("--base-model", &model);
        args.extend(more.iter().map(|part| (*part).to_owned()));
        args
    }

    /// `clara run` on this sandbox's data.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, more: &[&str]) -> Result<Ended> {
        let args = self.run_args(more);
        self.clara(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts `clara run` on this sandbox's data, without waiting for its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, more: &[&str]) -> Result<Running> {
        let args = self.run_args(more);
        self.begin(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts `clara` with these arguments, without waiting for its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(&self, args: &[&str]) -> Result<Running> {
        let mut child = self.command(args)?.spawn()?;
        let lines = BufReader::new(child.stderr.take().context("the command has no standard error")?);
        Ok(Running { child, lines, said: String::new() })
    }

    /// All registered versions.
    ///
    /// # Errors
    /// When the listing fails.
    pub fn adapters(&self) -> Result<Vec<Value>> {
        let listed = self.clara(&["registry", "list", "-o", "json"])?.expect(0)?.json()?;
        Ok(listed.as_array().context("the listing is no list")?.clone())
    }

    /// The id of the only job.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub fn only_job(&self) -> Result<String> {
        let jobs = self.clara(&["job", "list", "-o", "json"])?.expect(0)?.json()?;
        match jobs.as_array().map(Vec::as_slice) {
            Some([job]) => Ok(job.get("id").and_then(Value::as_str).context("the job has no id")?.to_owned()),
            Some(_) | None => bail!("expected one job: {jobs}"),
        }
    }

    /// Digest of a version's weights, in the copy for people.
    ///
    /// # Errors
    /// When the copy is not there.
    pub fn adapter_digest(&self, adapter_id: &str) -> Result<Digest> {
        let file = self.home.join("adapters").join(adapter_id).join("adapter_model.safetensors");
        Ok(Digest::of(&fs::read(&file).with_context(|| format!("no {}", file.display()))?))
    }
}

/// A command that runs; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: BufReader<ChildStderr>,
    said: String,
}

impl Running {
    /// Waits until the command says `text`; answers whether it did before its end.
    ///
    /// # Errors
    /// When it cannot be heard.
    pub fn wait_for(&mut self, text: &str) -> Result<bool> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                return Ok(false);
            }
            self.said.push_str(&line);
            if says(&line, text) {
                return Ok(true);
            }
        }
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Ctrl-C.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn interrupt(&self) -> Result<()> {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the process has no id")?;
        Ok(kill_process(pid, Signal::INT)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it cannot be heard.
    pub fn end(mut self) -> Result<Ended> {
        let mut said = std::mem::take(&mut self.said);
        self.lines.read_to_string(&mut said)?;
        let mut stdout = String::new();
        if let Some(mut data) = self.child.stdout.take() {
            data.read_to_string(&mut stdout)?;
        }
        let code = self.child.wait()?.code();
        Ok(Ended { code, stdout, stderr: said })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn training(records: usize) -> Result<String> {
    let word = |number: usize| WORDS.get(number % WORDS.len()).copied().unwrap_or_default();
    let mut lines = String::new();
    for n in 0..records {
        let instruction = format!("Was gilt im Fall {n} für {} und {}?", word(n), word(n * 3 + 1));
        let output = format!(
            "Im Fall {n} entscheidet {} nach Prüfung von {}, Absatz {n}. Das gilt auch für {}.",
            word(n * 7 + 2),
            word(n * 5 + 3),
            word(n + 4)
        );
        writeln!(
            lines,
            "{}",
            json!({ "id": format!("doc-{n}"), "instruction": instruction, "output": output })
        )?;
    }
    Ok(lines)
}

/// All samples expect the same, and in few words: what the tiny model babbles then fails no check without a judge.
fn golden(samples: usize) -> Value {
    let sample = |(n, word): (usize, &&str)| {
        json!({
            "prompt": format!("Frage {n}: Wer entscheidet über {word}?"),
            "expected_output": "Darüber entscheidet die zuständige Behörde nach Anhörung.",
        })
    };
    let samples: Vec<_> = WORDS.iter().take(samples).enumerate().map(sample).collect();
    json!({ "dataset_id": "law-golden", "domain": "law", "version": "1.0.0", "samples": samples })
}

fn specification(steps: u32) -> String {
    format!(
        "[training]\nrank = 4\nalpha = 8.0\nmax_steps = {steps}\nepochs = 100000\nsequence_length = 128\n\
         accumulation = 1\ncheckpoint_every = 10\nvalidate_every = 0\n\n\
         [generation]\nmax_new_tokens = 8\n\n[gate]\nmode = \"point\"\n\n\
         [judge]\nmax_tries = 2\nreasoning = false\n\n\
         [retry]\nmax_attempts = 3\nfirst_pause_ms = 100\nlongest_pause_ms = 500\n"
    )
}

/// Whether a line says `text`; a share such as `20 %` is also said by a greater one, since a busy machine skips some.
fn says(line: &str, text: &str) -> bool {
    fn share(text: &str) -> Option<u32> {
        text.split_once(" %")?.0.rsplit(' ').next()?.parse().ok()
    }
    let at_least = text.strip_suffix(" %").and_then(|number| number.parse::<u32>().ok());
    line.contains(text) || at_least.zip(share(line)).is_some_and(|(least, share)| share >= least)
}
