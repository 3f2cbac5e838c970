//! Receives from one list of queues for all slots of a worker: a slot that is busy gets nothing pushed.
//!
//! A consumer's prefetch is the number of receivers that waited when it was opened. An acknowledgement is kept back
//! until its receiver receives again, so that short attempts flow through one open consumer; when the receiver stays
//! busy, the consumers are cancelled first, then the acknowledgement is sent, and they are opened anew for those who
//! wait. Thus no task lies unacknowledged at a worker that cannot start it.
//!
//! The consumers of a band are opened only while a receiver finds nothing in the more urgent ones: a task that is pushed
//! and given back counts as delivered with RabbitMQ before 4.3, and after some of that it would be set aside.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered, SelectAll},
};
use lapin::{
    Acker, Channel, Consumer,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
        BasicRejectOptions,
    },
    types::FieldTable,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{BrokerError, Delivery, link::Link};

/// How long an acknowledgement waits for its receiver to receive again.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(250);
/// How long a receiver that finds only less urgent tasks waits for more urgent ones.
const URGENT_WITHIN: Duration = Duration::from_millis(20);
/// How long a consumer may take to open, and when one that did not is tried again. A quorum queue that was declared
/// right before a crash was seen to have no leader afterwards.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How often in a row a queue may not answer before it is made anew: it would never have a leader again (seen with
/// RabbitMQ 3.10), and every task for it would hold up its publisher. Its tasks come again because nobody claims them.
const SILENT_AT_MOST: u32 = 3;
/// Requests that wait for the subscription.
const REQUESTS: usize = 4096;

/// The receiving ends of one list of queues.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    number: u32,
    desk: mpsc::Sender<Request>,
}

#[derive(Debug)]
enum Request {
    Receive(oneshot::Sender<Result<Handed, BrokerError>>),
    Acknowledge(String, oneshot::Sender<bool>),
    Release(String, oneshot::Sender<()>),
    Held(oneshot::Sender<u64>),
}

/// A delivery on its way to a receiver; released when nobody takes it.
#[derive(Debug)]
struct Handed {
    delivery: Option<Delivery>,
    back: mpsc::Sender<Request>,
}

impl Handed {
    fn take(mut self) -> Option<Delivery> {
        self.delivery.take()
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            // Without room it comes again when the connection ends.
            drop(self.back.try_send(Request::Release(delivery.tag, oneshot::channel().0)));
        }
    }
}

impl Subscription {
    /// A subscription to `queues`, the most urgent first, and the work that must be spawned. No other one has `number`.
    pub(super) fn new(
        number: u32,
        link: Arc<Link>,
        queues: Vec<String>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (desk, receiver) = mpsc::channel(REQUESTS);
        let work = Desk::new(u64::from(number) << 32, link, queues, desk.clone()).serve(receiver);
        (Self { number, desk }, work)
    }

    /// Whether it handed out the delivery with this tag.
    pub(super) fn handed_out(&self, tag: &str) -> bool {
        let life: Option<u64> = tag.split('/').next().and_then(|life| life.parse().ok());
        life.is_some_and(|life| life >> 32 == u64::from(self.number))
    }

    pub(super) async fn receive(&self, wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        let (reply, mut answer) = oneshot::channel();
        if self.desk.send(Request::Receive(reply)).await.is_err() {
            tokio::time::sleep(wait).await;
            return Ok(None);
        }
        let handed = if let Ok(handed) = tokio::time::timeout(wait, &mut answer).await {
            handed.ok()
        } else {
            // What was sent at the last moment must not be lost.
            answer.close();
            answer.try_recv().ok()
        };
        handed.transpose().map(|handed| handed.and_then(Handed::take))
    }

    pub(super) async fn acknowledge(&self, tag: &str) -> bool {
        self.ask(|reply| Request::Acknowledge(tag.to_owned(), reply)).await.unwrap_or(false)
    }

    pub(super) async fn release(&self, tag: &str) {
        self.ask(|reply| Request::Release(tag.to_owned(), reply)).await;
    }

    /// Deliveries that receivers work on.
    pub(super) async fn held(&self) -> u64 {
        self.ask(Request::Held).await.unwrap_or_default()
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.desk.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// What a consumer brings: the queue's position in the list, the life of the channel, and the delivery or its end.
type Arrival = (usize, u64, Option<Result<lapin::message::Delivery, lapin::Error>>);

/// A delivery and the generation of consumers that brought it.
type Arrived = (lapin::message::Delivery, u64);

/// The work of a subscription.
struct Desk {
    link: Arc<Link>,
    queues: Vec<String>,
    back: mpsc::Sender<Request>,
    /// One for each queue, so that a queue that does not answer keeps no other one waiting.
    channels: Vec<Option<Channel>>,
    /// Counts channels, and within one of them generations of consumers.
    life: u64,
    /// Open consumers: the queue's position and the consumer's name.
    consumers: Vec<(usize, String)>,
    /// When queues are tried again that did not answer.
    try_again_at: Option<Instant>,
    /// How often in a row each queue did not answer.
    silent: Vec<u32>,
    consumers_opened: u64,
    arrivals: SelectAll<BoxStream<'static, Arrival>>,
    /// How many queues, from the most urgent one on, have had their consumers opened in this generation, when the last
    /// of them had, and with which prefetch.
    opened: usize,
    opened_at: Instant,
    prefetch: u16,
    /// How many more deliveries the open consumers may bring together.
    credit: i64,
    waiting: VecDeque<(Instant, oneshot::Sender<Result<Handed, BrokerError>>)>,
    /// Arrived and not handed out, by position of the queue.
    buffered: Vec<VecDeque<Arrived>>,
    /// Since when something lies here that nobody waits for.
    unhanded_since: Option<Instant>,
    /// Handed out: who acknowledges it, and in which generation it came.
    held: HashMap<String, (Acker, u64)>,
    /// When what was handed out is taken back, in order.
    held_until: VecDeque<(Instant, String)>,
    /// Acknowledged by their receivers, and kept back; with the time when that must end.
    settled: VecDeque<(Instant, Acker, u64)>,
    sending: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Desk {
    fn new(life: u64, link: Arc<Link>, queues: Vec<String>, back: mpsc::Sender<Request>) -> Self {
        let buffered = queues.iter().map(|_| VecDeque::new()).collect();
        let (channels, silent) = (vec![None; queues.len()], vec![0; queues.len()]);
        Self {
            link,
            queues,
            back,
            channels,
            life,
            consumers: Vec::new(),
            try_again_at: None,
            silent,
            consumers_opened: 0,
            arrivals: SelectAll::new(),
            opened: 0,
            opened_at: Instant::now(),
            prefetch: 0,
            credit: 0,
            waiting: VecDeque::new(),
            buffered,
            unhanded_since: None,
            held: HashMap::new(),
            held_until: VecDeque::new(),
            settled: VecDeque::new(),
            sending: FuturesUnordered::new(),
        }
    }

    async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                request = requests.recv() => {
                    let Some(request) = request else { return };
                    self.take(request);
                    // Everything that is there already is looked at together.
                    while let Ok(request) = requests.try_recv() {
                        self.take(request);
                    }
                }
                Some(arrival) = self.arrivals.next(), if !self.arrivals.is_empty() => self.arrived(arrival),
                Some(()) = self.sending.next(), if !self.sending.is_empty() => continue,
                () = tokio::time::sleep_until(wake_at) => {}
            }
            self.take_back();
            self.hand_out();
            if let Err(error) = self.adjust().await {
                self.fail(&error);
            }
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Receive(reply) => {
                self.waiting.push_back((Instant::now(), reply));
                // This receiver is free again, so the broker may push the next task.
                if let Some((_, acker, generation)) = self.settled.pop_front() {
                    self.credit += i64::from(generation == self.consumers_opened);
                    self.acknowledge(acker);
                }
            }
            Request::Acknowledge(tag, reply) => {
                let held = self.held.remove(&tag).filter(|(acker, _)| acker.usable());
                // The receiver may have gone away; the acknowledgement counts.
                let _ = reply.send(held.is_some());
                if let Some((acker, generation)) = held {
                    self.settled.push_back((Instant::now() + ACKNOWLEDGE_WITHIN, acker, generation));
                }
            }
            Request::Release(tag, reply) => {
                if let Some((acker, generation)) = self.held.remove(&tag) {
                    self.credit += i64::from(generation == self.consumers_opened);
                    self.requeue(acker);
                }
                let _ = reply.send(());
            }
            Request::Held(reply) => drop(reply.send(self.held.len() as u64)),
        }
    }

    fn arrived(&mut self, (queue, generation, arrival): Arrival) {
        match arrival {
            Some(Ok(delivery)) => {
                if generation == self.consumers_opened {
                    self.credit -= 1;
                }
                if let Some(buffered) = self.buffered.get_mut(queue) {
                    buffered.push_back((delivery, generation));
                }
            }
            // Cancelled by this desk, and drained.
            None if generation < self.consumers_opened || self.consumers.is_empty() => {}
            None => {
                let name = self.queues.get(queue).cloned().unwrap_or_default();
                self.link.forget(&name);
                self.start_over("the broker ended a consumer");
            }
            Some(Err(error)) if generation == self.consumers_opened => self.start_over(&error.to_string()),
            Some(Err(_)) => {}
        }
    }

    /// Forgets the channel and all that came over it; unacknowledged tasks come again.
    fn start_over(&mut self, reason: &str) {
        tracing::debug!("receiving starts over: {reason}");
        self.channels.fill(None);
        self.try_again_at = None;
        self.life += 1;
        self.consumers.clear();
        self.consumers_opened += 1;
        self.arrivals = SelectAll::new();
        self.credit = 0;
        self.held.clear();
        self.held_until.clear();
        self.settled.clear();
        self.buffered.iter_mut().for_each(VecDeque::clear);
    }

    fn fail(&mut self, error: &BrokerError) {
        // One of them may have been deleted.
        self.queues.iter().for_each(|queue| self.link.forget(queue));
        self.start_over(&error.to_string());
        for (_, reply) in self.waiting.drain(..) {
            // A receiver that went away needs no error.
            drop(reply.send(Err(error.clone())));
        }
    }

    /// Returns what receivers have held for too long.
    fn take_back(&mut self) {
        while self.held_until.front().is_some_and(|(until, _)| *until <= Instant::now()) {
            let Some((_, tag)) = self.held_until.pop_front() else { return };
            if let Some((acker, generation)) = self.held.remove(&tag) {
                self.credit += i64::from(generation == self.consumers_opened);
                self.requeue(acker);
            }
        }
    }

    /// Gives what has arrived to those who wait, the most urgent first.
    fn hand_out(&mut self) {
        self.waiting.retain(|(_, reply)| !reply.is_closed());
        while let Some((since, _)) = self.waiting.front() {
            let Some(first) = self.buffered.iter().position(|buffered| !buffered.is_empty()) else { return };
            // More urgent tasks may be on their way while a less urgent one lies here already.
            let surplus = self.buffered.iter().map(VecDeque::len).sum::<usize>() > self.waiting.len();
            if first > 0 && surplus && since.elapsed() < URGENT_WITHIN {
                return;
            }
            let Some(arrived) = self.buffered.get_mut(first).and_then(VecDeque::pop_front) else { return };
            self.hand(first, arrived);
        }
    }

    fn hand(&mut self, queue: usize, (delivery, generation): Arrived) {
        let tag = format!("{}/{queue}/{}", self.life, delivery.delivery_tag);
        let Some((_, reply)) = self.waiting.pop_front() else { return };
        let acker = delivery.acker.clone();
        match serde_json::from_slice(&delivery.data) {
            Ok(task) => {
                self.held.insert(tag.clone(), (acker, generation));
                self.held_until.push_back((Instant::now() + self.link.visibility_timeout(), tag.clone()));
                let delivery = Delivery { task, tag, redelivered: delivery.redelivered };
                let handed = Handed { delivery: Some(delivery), back: self.back.clone() };
                // Not taken, it is released when it is dropped.
                drop(reply.send(Ok(handed)));
            }
            Err(error) => {
                self.credit += i64::from(generation == self.consumers_opened);
                self.sending.push(
                    async move {
                        // Not rejected, it comes again and is rejected then.
                        drop(acker.reject(BasicRejectOptions { requeue: false }).await);
                    }
                    .boxed(),
                );
                let queue = self.queues.get(queue).cloned().unwrap_or_default();
                drop(reply.send(Err(BrokerError::Malformed { queue, reason: error.to_string() })));
            }
        }
    }

    fn acknowledge(&mut self, acker: Acker) {
        // Unsent, the task comes again and its claim is refused.
        self.sending.push(async move { drop(acker.ack(BasicAckOptions::default()).await) }.boxed());
    }

    fn requeue(&mut self, acker: Acker) {
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        self.sending.push(async move { drop(acker.nack(options).await) }.boxed());
    }

    /// When something must be done though nothing happens.
    fn wake_at(&self) -> Instant {
        let settled = self.settled.front().map(|(by, ..)| *by);
        let held = self.held_until.front().map(|(until, _)| *until);
        let arrived = !self.buffered.iter().all(VecDeque::is_empty);
        let urgent = self.waiting.front().filter(|_| arrived).map(|(since, _)| *since + URGENT_WITHIN);
        let unhanded = self.unhanded_since.map(|since| since + ACKNOWLEDGE_WITHIN);
        let far = Instant::now() + Duration::from_mins(1);
        let try_again = self.try_again_at.filter(|_| !self.waiting.is_empty());
        [settled, held, urgent, unhanded, try_again, self.open_more_at()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(far)
    }

    /// Brings the consumers to what is needed.
    async fn adjust(&mut self) -> Result<(), BrokerError> {
        let busy = self.settled.front().is_some_and(|(by, ..)| *by <= Instant::now());
        let arrived: usize = self.buffered.iter().map(VecDeque::len).sum();
        if arrived == 0 || !self.waiting.is_empty() {
            self.unhanded_since = None;
        } else {
            self.unhanded_since.get_or_insert_with(Instant::now);
        }
        let unhanded = self.unhanded_since.is_some_and(|since| since.elapsed() >= ACKNOWLEDGE_WITHIN);
        let wanted = i64::try_from(self.waiting.len()).unwrap_or(i64::MAX);
        if busy || unhanded {
            self.close().await?;
            self.give_up_surplus();
            while let Some((_, acker, _)) = self.settled.pop_front() {
                self.acknowledge(acker);
            }
        }
        let arrived = i64::try_from(arrived).unwrap_or(i64::MAX);
        let again = wanted > 0 && self.try_again_at.is_some_and(|at| at <= Instant::now());
        if again || wanted > self.credit.saturating_add(arrived) {
            self.close().await?;
            self.open().await?;
        } else if self.open_more_at().is_some_and(|at| at <= Instant::now()) {
            self.open_next_band().await?;
        }
        Ok(())
    }

    /// When the consumers of the next band are opened: while somebody still waits.
    fn open_more_at(&self) -> Option<Instant> {
        let (since, _) = self.waiting.front()?;
        let more = 0 < self.opened && self.opened < self.queues.len();
        more.then(|| self.opened_at.max(*since) + URGENT_WITHIN)
    }

    /// Returns what arrived and nobody waits for.
    fn give_up_surplus(&mut self) {
        if self.waiting.is_empty() {
            let surplus: Vec<_> = self.buffered.iter_mut().flat_map(std::mem::take).collect();
            for (delivery, _) in surplus {
                self.requeue(delivery.acker);
            }
            self.unhanded_since = None;
        }
    }

    /// Removes queues that have not answered for long; they are declared anew when they are used next.
    async fn replace_silent(&mut self) {
        for (queue, times) in self.queues.iter().zip(&mut self.silent) {
            if *times < SILENT_AT_MOST {
                continue;
            }
            *times = 0;
            // A broker that answers nobody says nothing about this queue.
            if let Err(error) = self.link.messages(&self.link.dead_letters()).await {
                tracing::debug!("queue {queue} does not answer, and nothing else does: {error}");
                continue;
            }
            match self.link.remove(queue).await {
                Ok(()) => tracing::warn!("queue {queue} did not answer for long, so it is made anew"),
                Err(error) => {
                    tracing::warn!("queue {queue} does not answer and could not be removed: {error}");
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), BrokerError> {
        self.credit = 0;
        self.opened = 0;
        for (position, consumer) in std::mem::take(&mut self.consumers) {
            if let Some(Some(channel)) = self.channels.get(position) {
                let cancelled = channel.basic_cancel(consumer.into(), BasicCancelOptions::default());
                answered(&self.link, cancelled).await?;
            }
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<(), BrokerError> {
        if self.channels.iter().flatten().any(|channel| !channel.status().connected()) {
            self.start_over("a channel was closed");
        }
        self.consumers_opened += 1;
        self.opened = 0;
        self.try_again_at = None;
        self.prefetch = u16::try_from(self.waiting.len()).unwrap_or(u16::MAX);
        self.credit = i64::from(self.prefetch);
        tracing::debug!("consumers are opened for {} receivers", self.prefetch);
        self.open_next_band().await
    }

    /// Opens the consumers of the most urgent band that has none.
    async fn open_next_band(&mut self) -> Result<(), BrokerError> {
        let (life, generation, size) = (self.life, self.consumers_opened, self.prefetch);
        let band = |queue: &String| queue.rsplit('.').next().map(str::to_owned);
        let next = self.queues.get(self.opened).map(band);
        let queues = self.queues.iter().zip(&self.channels).enumerate().skip(self.opened);
        let opening = queues.take_while(|(_, (queue, _))| Some(band(queue)) == next).map(
            |(position, (queue, channel))| {
                let name = format!("clara-{life}-{generation}-{position}");
                let opened = consume(&self.link, channel.clone(), queue, (name.clone(), size));
                async move { (position, name, opened.await) }
            },
        );
        let mut failed = None;
        for (position, name, opened) in futures::future::join_all(opening).await {
            self.opened = position + 1;
            let Some(place) = self.channels.get_mut(position) else { continue };
            if let Some(times) = self.silent.get_mut(position) {
                *times = if opened.is_some() { 0 } else { *times + 1 };
            }
            match opened {
                Some(Ok((channel, consumer))) => {
                    *place = Some(channel);
                    let arrivals = consumer.map(move |delivery| (position, generation, Some(delivery)));
                    let end = futures::stream::once(async move { (position, generation, None) });
                    self.arrivals.push(arrivals.chain(end).boxed());
                    self.consumers.push((position, name));
                }
                Some(Err(error)) => {
                    *place = None;
                    failed = Some(error);
                }
                None => {
                    *place = None;
                    let queue = self.queues.get(position).cloned().unwrap_or_default();
                    let reason = format!("queue {queue} does not answer; it may have no leader");
                    failed = Some(self.link.unavailable(&reason));
                }
            }
        }
        self.replace_silent().await;
        self.opened_at = Instant::now();
        if failed.is_some() {
            self.try_again_at = Some(Instant::now() + TRY_AGAIN_AFTER);
        }
        match failed {
            Some(error) if self.consumers.is_empty() && self.opened == self.queues.len() => Err(error),
            Some(error) => {
                tracing::warn!("tasks of one queue are not received for now: {error}");
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Opens a consumer that brings at most `size` unacknowledged deliveries. Answers nothing when the queue does not.
async fn consume(
    link: &Link,
    channel: Option<Channel>,
    queue: &str,
    (name, size): (String, u16),
) -> Option<Result<(Channel, Consumer), BrokerError>> {
    let opened = async {
        let channel = match channel {
            Some(channel) => channel,
            None => link.channel().await?,
        };
        link.declare(queue).await?;
        let unavailable = |error: lapin::Error| {
            link.forget(queue);
            link.unavailable(&error)
        };
        channel.basic_qos(size, BasicQosOptions::default()).await.map_err(unavailable)?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), name.into(), options, FieldTable::default());
        Ok((channel.clone(), consumer.await.map_err(unavailable)?))
    };
    tokio::time::timeout(OPEN_WITHIN, opened).await.ok()
}

async fn answered<T>(
    link: &Link,
    call: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(link.timeout(), call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(link.unavailable(&error)),
        Err(_) => {
            link.reset().await;
            Err(link.unavailable(&"it did not answer in time"))
        }
    }
}
