//! Which coordinator a call goes to, and where it goes next.

use parking_lot::Mutex;

use super::*;

/// Clients that are their names, and what was asked of whom.
struct Street {
    peers: Peers<&'static str>,
    asked: Mutex<Vec<&'static str>>,
}

impl Street {
    fn new() -> Self {
        let peers = Peers::of(["a", "b", "c"].map(|name| (format!("http://{name}"), name))).unwrap();
        Self { peers, asked: Mutex::default() }
    }

    /// Calls; those of `silent` cannot be reached.
    async fn call(&self, silent: &[&str], refused: Option<Code>) -> Result<&'static str, Failed> {
        self.peers
            .call(|name| {
                self.asked.lock().push(name);
                let answer = match refused {
                    _ if silent.contains(&name) => Err(Status::unavailable("silent")),
                    Some(code) => Err(Status::new(code, "no")),
                    None => Ok(Response::new(name)),
                };
                async { answer }
            })
            .await
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock())
    }
}

#[tokio::test]
async fn one_coordinator_is_used_while_it_answers_and_then_the_next() {
    let street = Street::new();
    for _ in 0..3 {
        assert_eq!(street.call(&[], None).await.unwrap(), "a");
    }
    assert_eq!(street.asked(), ["a", "a", "a"]);
    assert_eq!(street.call(&["a", "b"], None).await.unwrap(), "c");
    assert_eq!(street.asked(), ["a", "b", "c"]);
    // It is not left again for one that is back.
    assert_eq!(street.call(&[], None).await.unwrap(), "c");
    assert_eq!(street.call(&["c"], None).await.unwrap(), "a");
}

#[tokio::test]
async fn a_refusal_is_told_and_repeated_nowhere() {
    let street = Street::new();
    let refused = street.call(&[], Some(Code::FailedPrecondition)).await.unwrap_err();
    assert_eq!((refused.url.as_str(), refused.status.code()), ("http://a", Code::FailedPrecondition));
    assert_eq!(street.asked(), ["a"]);
}

#[tokio::test]
async fn when_none_can_be_reached_each_was_asked_once_and_all_are_named() {
    let street = Street::new();
    let failed = street.call(&["a", "b", "c"], None).await.unwrap_err();
    assert_eq!(failed.url, "http://a, http://b, http://c");
    assert_eq!(street.asked(), ["a", "b", "c"]);
    assert_eq!(street.call(&[], None).await.unwrap(), "a");
}

#[tokio::test]
async fn calls_that_fail_together_leave_a_coordinator_once() {
    let street = Street::new();
    let barrier = tokio::sync::Barrier::new(2);
    let call = || {
        street.peers.call(|name| {
            let together = &barrier;
            async move {
                if name != "a" {
                    return Ok(Response::new(name));
                }
                together.wait().await;
                Err(Status::unavailable("silent"))
            }
        })
    };
    let (one, two) = tokio::join!(call(), call());
    assert_eq!((one.unwrap(), two.unwrap(), street.peers.url()), ("b", "b", "http://b"));
}
