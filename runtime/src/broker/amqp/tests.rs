//! The RabbitMQ broker against the contract and under faults, and brokers that crash or must be refused.
//!
//! One RabbitMQ serves all tests of this file: starting it takes some seconds.

use std::{path::Path, process::Command};

use clara_lifecycle::{
    id::{Attempt, ClassName},
    stage::Stage,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::{
    broker::contract,
    faults::{Duplicating, Fault, Faulty, Reordering},
    tls::testing::Authority,
};

mod certificates;
mod unanswered;

const VISIBILITY: Duration = Duration::from_millis(400);

/// A RabbitMQ of its own, ended and removed when dropped.
struct Server {
    folder: tempfile::TempDir,
    url: String,
    tls_url: String,
    authority: Authority,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "authority");
        let (certificate, key) = authority.sign("localhost");
        std::fs::rename(certificate, folder.path().join("certificate.pem")).unwrap();
        std::fs::rename(key, folder.path().join("key.pem")).unwrap();
        let said = services(folder.path(), &["start"]);
        let value = |name| said.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        Self { url: value("AMQP_URL="), tls_url: value("AMQPS_URL="), folder, authority }
    }

    fn kill_and_start_again(&self) {
        services(self.folder.path(), &["kill", "rabbitmq"]);
        services(self.folder.path(), &["start"]);
    }

    /// Queues of its own on the server.
    fn options(&self) -> AmqpOptions {
        AmqpOptions {
            prefix: format!("test-{}", Uuid::new_v4().simple()),
            visibility_timeout: VISIBILITY,
            ..AmqpOptions::new(Secret::new(&*self.url))
        }
    }

    async fn connect(&self) -> AmqpBroker {
        AmqpBroker::connect(&self.options(), &tasks()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        services(self.folder.path(), &["wipe"]);
    }
}

fn services(folder: &Path, words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services.sh");
    let (verb, more) = words.split_first().unwrap();
    let mut command = Command::new(script);
    command.arg(verb).arg(folder.join("services")).args(more);
    command.env("SERVICES_ONLY", "rabbitmq").env("SERVICES_PLUGINS", "").env("SERVICES_TLS", folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn tasks() -> Tasks {
    Tasks::new(CancellationToken::new())
}

fn task(priority: u8) -> Task {
    let job = format!("job-{}", Uuid::new_v4()).parse().unwrap();
    Task { job, stage: Stage::Train, attempt: Attempt::FIRST, priority, class: ClassName::default() }
}

fn served() -> Vec<QueueName> {
    QueueName::served(Stage::Train, &[ClassName::default()])
}

async fn must_receive(broker: &AmqpBroker) -> Delivery {
    for _ in 0..60 {
        match broker.receive(&served(), Duration::from_millis(500)).await {
            Ok(Some(delivery)) => return delivery,
            Ok(None) => {}
            Err(error) => {
                eprintln!("{error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    panic!("no task came");
}

/// All that needs a RabbitMQ, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_is_a_broker_as_the_contract_wants_it() {
    let server = Server::start();
    contract::check(Arc::new(server.connect().await), VISIBILITY).await.unwrap();
    nothing_is_lost_under_faults(&server).await;
    a_busy_receiver_holds_no_task_that_it_cannot_start(&server).await;
    passing_over_a_task_does_not_count_as_delivering_it(&server).await;
    overlapping_lists_of_queues_acknowledge_their_own(&server).await;
    garbage_is_set_aside(&server).await;
    a_deleted_queue_is_made_anew(&server).await;
    a_wrong_password_is_refused(&server).await;
    certificates::decide_who_talks_to_whom(&server).await;
    unanswered::the_end_of_a_channel_holds_nobody_up(&server).await;
    a_broker_short_of_memory_says_so_and_loses_nothing(&server).await;
    a_killed_broker_loses_nothing(&server).await;
}

async fn nothing_is_lost_under_faults(server: &Server) {
    let inner: Arc<dyn Broker> = Arc::new(server.connect().await);
    let slow = Fault::Slow(Duration::from_millis(5));
    let wrapped: [Arc<dyn Broker>; 5] = [
        Arc::new(Faulty::new(inner.clone(), Fault::Flaky, 30, 1)),
        Arc::new(Faulty::new(inner.clone(), Fault::Unanswered, 20, 2)),
        Arc::new(Faulty::new(inner.clone(), slow, 30, 3)),
        Arc::new(Duplicating::new(inner.clone(), 40, 4)),
        Arc::new(Reordering::new(inner, 40, 5)),
    ];
    for broker in wrapped {
        contract::check_under_faults(broker.as_ref(), VISIBILITY).await.unwrap();
    }
}

async fn a_busy_receiver_holds_no_task_that_it_cannot_start(server: &Server) {
    let options = server.options();
    let busy = AmqpBroker::connect(&options, &tasks()).await.unwrap();
    let other = AmqpBroker::connect(&options, &tasks()).await.unwrap();
    let (first, second) = (task(5), task(5));
    busy.publish(&first).await.unwrap();
    let delivery = must_receive(&busy).await;
    assert!(busy.acknowledge(&delivery).await.unwrap());
    // The receiver works now and does not come back; whatever it might have been pushed must reach the other.
    busy.publish(&second).await.unwrap();
    let delivery = must_receive(&other).await;
    assert_eq!(delivery.task, second);
    assert!(other.acknowledge(&delivery).await.unwrap());
}

async fn passing_over_a_task_does_not_count_as_delivering_it(server: &Server) {
    let broker = server.connect().await;
    let late = task(0);
    broker.publish(&late).await.unwrap();
    for _ in 0..60 {
        let urgent = task(9);
        broker.publish(&urgent).await.unwrap();
        let delivery = must_receive(&broker).await;
        assert_eq!(delivery.task, urgent);
        assert!(broker.acknowledge(&delivery).await.unwrap());
        // The receiver is busy: its consumers are cancelled, and what they brought is given back.
        tokio::time::sleep(Duration::from_millis(260)).await;
    }
    let delivery = must_receive(&broker).await;
    assert_eq!(delivery.task, late);
    assert!(!delivery.redelivered, "it was pushed to a receiver that could not start it");
    assert_eq!(broker.dead_letters().await.unwrap(), 0);
}

async fn overlapping_lists_of_queues_acknowledge_their_own(server: &Server) {
    let broker = server.connect().await;
    let classes = ["default".parse().unwrap(), "gpu80".parse().unwrap()];
    let wider = QueueName::served(Stage::Train, &classes);
    for queues in [served(), wider.clone(), served(), wider] {
        broker.publish(&task(5)).await.unwrap();
        let delivery = broker.receive(&queues, Duration::from_secs(10)).await.unwrap().unwrap();
        assert!(broker.acknowledge(&delivery).await.unwrap(), "{queues:?}");
    }
}

async fn garbage_is_set_aside(server: &Server) {
    let broker = server.connect().await;
    broker.publish(&task(5)).await.unwrap();
    let queue = broker.link.queue(&QueueName::of(&task(5)));
    let channel = broker.link.channel().await.unwrap();
    let options = BasicPublishOptions::default();
    let publish =
        channel.basic_publish("".into(), queue.into(), options, b"{no task", BasicProperties::default());
    publish.await.unwrap().await.unwrap();
    let good = must_receive(&broker).await;
    assert!(broker.acknowledge(&good).await.unwrap());
    let malformed = broker.receive(&served(), Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(malformed, BrokerError::Malformed { .. }), "{malformed}");
    for _ in 0..100 {
        if broker.dead_letters().await.unwrap() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} dead letters", broker.dead_letters().await.unwrap());
}

async fn a_deleted_queue_is_made_anew(server: &Server) {
    let broker = server.connect().await;
    assert!(broker.receive(&served(), Duration::from_millis(200)).await.unwrap().is_none());
    // Of somebody else: a consumer that the broker and the worker cancel at the same moment costs the worker's connection.
    let other = server.connect().await;
    let channel = other.link.channel().await.unwrap();
    for queue in served() {
        let name = broker.link.queue(&queue);
        channel.queue_delete(name.into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    }
    let task = task(5);
    broker.publish(&task).await.unwrap();
    assert_eq!(must_receive(&broker).await.task, task);
}

async fn a_wrong_password_is_refused(server: &Server) {
    let url = server.url.replace("guest:guest", "guest:wrong-secret");
    let options = AmqpOptions { url: Secret::new(url), ..server.options() };
    let refused = AmqpBroker::connect(&options, &tasks()).await.unwrap_err();
    let text = format!("{refused} {refused:?} {options:?}");
    assert!(!refused.is_retryable() && text.contains("broker.url"), "{text}");
    assert!(!text.contains("wrong-secret"), "{text}");
}

async fn a_broker_short_of_memory_says_so_and_loses_nothing(server: &Server) {
    let timeout = Duration::from_secs(3);
    let broker = AmqpBroker::connect(&AmqpOptions { timeout, ..server.options() }, &tasks()).await.unwrap();
    let watermark = |size: &str| {
        services(server.folder.path(), &["ctl", "set_vm_memory_high_watermark", "absolute", size]);
    };
    let (first, second) = (task(5), task(5));
    broker.publish(&first).await.unwrap();
    watermark("1MB");
    for _ in 0..2 {
        let refused = broker.publish(&second).await.unwrap_err();
        assert!(refused.is_retryable() && refused.to_string().contains("takes no tasks"), "{refused}");
    }
    assert!(broker.blocked().is_some());
    watermark("2GB");
    for _ in 0..100 {
        if broker.publish(&second).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(broker.blocked().is_none());
    let mut found = Vec::new();
    while !(found.contains(&first) && found.contains(&second)) {
        let delivery = must_receive(&broker).await;
        assert!(broker.acknowledge(&delivery).await.unwrap());
        found.push(delivery.task);
    }
}

async fn a_killed_broker_loses_nothing(server: &Server) {
    let metrics = crate::metrics::install().unwrap();
    let broker = server.connect().await;
    let (held, waiting) = (task(5), task(5));
    broker.publish(&held).await.unwrap();
    let delivery = must_receive(&broker).await;
    broker.publish(&waiting).await.unwrap();
    server.kill_and_start_again();
    assert!(!broker.acknowledge(&delivery).await.unwrap_or(false), "a delivery from before the crash");
    let mut found = Vec::new();
    while found.len() < 2 {
        let delivery = must_receive(&broker).await;
        broker.acknowledge(&delivery).await.unwrap();
        if !found.contains(&delivery.task.job) {
            found.push(delivery.task.job);
        }
    }
    assert!(found.contains(&held.job) && found.contains(&waiting.job));
    for _ in 0..60 {
        if broker.publish(&task(5)).await.is_ok() {
            let page = metrics.render();
            assert!(page.contains("\nclara_broker_reconnects_total "), "{page}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("nothing can be published any more");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_worth_another_try() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = AmqpOptions::new(Secret::new(format!("amqp://guest:guest@127.0.0.1:{port}/%2f")));
    let error = AmqpBroker::connect(&options, &tasks()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_showing_it() {
    let options = AmqpOptions::new(Secret::new("http://user:wrong-secret@host"));
    let error = AmqpBroker::connect(&options, &tasks()).await.unwrap_err();
    assert!(!error.is_retryable() && !error.to_string().contains("wrong-secret"), "{error}");
}
