//! A rollout to our own server: what it then serves is proven to be what was judged.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use clara_tests::{Ended, Judge, Sandbox, Script, fixture, until};

/// A server that ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn an_approved_version_is_loaded_into_a_running_server_of_ours_and_proven_there() -> Result<()> {
    let (sandbox, judge) = (Sandbox::new(6)?, Judge::start(Script::Score(9))?);
    let specification = std::fs::read_to_string(sandbox.path("job.toml"))?;
    let specification = format!("rollout_targets = [\"own\"]\n{specification}");
    std::fs::write(sandbox.path("job.toml"), specification)?;
    let folder = sandbox.path("served");
    std::fs::create_dir_all(&folder)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let (base, folder) = (fixture("tiny-llama").display().to_string(), folder.display().to_string());
    let words = ["serve", "--base", &base, "--adapter-folder", &folder, "--listen", &address];
    let mut serve = sandbox.program("gpu-worker", &words)?;
    let _serving = Serving(serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    until("the server", || Ok(get(&address, "/health").ok().map(drop)))?;

    let args = sandbox.run_args(&["--judge-url", &judge.url(), "--judge-model", "scripted"]);
    let mut run = sandbox.command(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
    run.envs([("CLARA_TARGETS__OWN__KIND", "clara"), ("CLARA_TARGETS__OWN__FOLDER", &folder)]);
    run.env("CLARA_TARGETS__OWN__REPLICAS", format!("[\"http://{address}\"]"));
    // The tiny model is served in f32, as it was judged.
    run.env("CLARA_TARGETS__OWN__DTYPE", "f32");
    Ended::of(run.output()?)?.expect(0)?;

    let models = get(&address, "/v1/models")?;
    ensure!(models.contains("law-lora-v1.0.0"), "{models}");
    let adapters = sandbox.clara(&["registry", "list", "-o", "json"])?.expect(0)?.json()?;
    ensure!(adapters[0]["champion"] == true, "{adapters}");
    let audit = sandbox.clara(&["registry", "audit"])?.expect(0)?;
    let proof = audit.stdout.lines().find(|line| line.contains("rollout.proven"));
    proof.with_context(|| format!("no proof in {}", audit.stdout))?;
    Ok(())
}
