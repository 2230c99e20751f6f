//! The sequencer's loop, on its own thread: seal, commit, read back, sign, reply. The order is the design.
//!
//! Any error from the commit on means *state unknown*: nobody is answered, the term ends, and the log is found again
//! by [`recover`]. What a person must look at ends writing until the next start; reads go on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use counterfoil_merkle::{
    Frontier, LeafIndex, TreeSize,
    frontier::FullTile,
    tile::{TILE_WIDTH, TileKind, TilePath},
};
use counterfoil_receipt::{Kind, Statement, Timestamp};
use futures::executor::block_on;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::{
    admission::{self, RefusedAt},
    batch::{Batch, Published},
    clock::{Clock, ClockError},
    commit::Header,
    guard::{Guard, Mark},
    log::{Log, Status},
    metrics::Metrics,
    objects::{Created, commit_name, never_told_name},
    order::Order,
    pace::Pace,
    publish::{
        heads::Heads,
        run::Halted,
        shown::{EvidencePlace, check_all},
    },
    queue::{Outcome, Submission, Taken},
    recover::{Retained, is_overtaken, recover},
    room::{Room, is_full},
    rules::WantedRules,
    sequencer::{ReadBackError, Sealed, Sequencer},
    settle::{Found, Settler, Step},
    stop::Stop,
    tiles::{Edge, Tiles},
};

/// How often a record is read again before a difference counts as lasting.
const READ_BACK_ATTEMPTS: usize = 3;

/// How often an idle log looks whether it has room.
const ROOM_PERIOD: Duration = Duration::from_secs(1);

/// What the loop works with.
pub struct Driver {
    /// Shared with readers.
    pub log: Arc<Log>,
    /// The guard, shared with the settler.
    pub guard: Arc<Mutex<Guard>>,
    /// Signs heads and publishes them, or hands them on to whoever does.
    pub heads: Heads,
    /// Where evidence against this log would be.
    pub evidence: EvidencePlace,
    /// Tells the time.
    pub clock: Clock,
    /// How far the wall clock may be ahead of the guard at start.
    pub clock_gap_max: Duration,
    /// How much has to stay free on the disk.
    pub room: Room,
    /// The rules as they should be.
    pub rules: Arc<WantedRules>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How often what need not be done at once is done.
    pub pace: Pace,
}

/// What became of the submissions of a batch: those that make it up, and what others are told.
#[derive(Default)]
struct Parted {
    fresh: Vec<Submission>,
    known: Vec<(Submission, LeafIndex)>,
    refused: Vec<(Submission, RefusedAt)>,
    /// What came after a record by which they have to be judged.
    rest: Vec<Submission>,
}

/// One life of the sequencer between two recoveries.
struct Term {
    sequencer: Sequencer,
    edge: Arc<Edge>,
    settler: Option<Settler>,
    /// When the last commit was begun that keeps others off. Whoever goes on from another one reads its clock later.
    fenced: Timestamp,
}

impl Driver {
    /// Runs until the queue is shut down. Returns whether the log ended in order.
    pub fn run(mut self) -> bool {
        if let Err(error) = self.log.show_stored(self.heads.identity()) {
            warn!(%error, "what was published before cannot be shown");
        }
        let in_order = self.terms();
        self.heads.finish();
        in_order
    }

    fn terms(&mut self) -> bool {
        loop {
            let ended = self.term();
            self.log.queue.close();
            let Err(stop) = ended else {
                info!("the log has stopped in order");
                return true;
            };
            let full = stop.may_pass() && is_full(&stop);
            let status = if full { Status::NoRoom } else { Status::Stopped { reason: stop.to_string() } };
            self.log.set_status(status);
            if self.log.queue.is_shut_down() {
                error!(%stop, "the log stopped with its state unknown; the next start recovers it");
                return false;
            }
            if !stop.may_pass() {
                error!(%stop, "writing has stopped until a person looks at it; reads go on");
                self.log.queue.wait_for_shut_down();
                return false;
            }
            warn!(%stop, "state unknown; recovering");
            std::thread::sleep(self.pace.retry);
        }
    }

    fn term(&mut self) -> Result<(), Stop> {
        let (mut term, found) = self.begin()?;
        let (log, guard, edge) = (Arc::clone(&self.log), Arc::clone(&self.guard), Arc::clone(&term.edge));
        let checkpoint = matches!(self.heads, Heads::Alone(_));
        term.settler = Some(Settler::start(log, guard, edge, found, checkpoint, self.pace)?);
        let turned = self.write(&mut term);
        // However the term ended: two settlers never work at once.
        let settled = term.settler.take().map_or(Ok(()), Settler::finish);
        turned.and(settled)
    }

    fn write(&mut self, term: &mut Term) -> Result<(), Stop> {
        self.attest(term)?;
        self.keep_rules(term)?;
        self.log.queue.open();
        self.log.set_status(Status::Writing);
        self.has_room()?;
        self.turn(term)
    }

    /// Finds the log, and holds the wall clock against the guard, and the log against what witnesses saw of it.
    fn begin(&mut self) -> Result<(Term, Found), Stop> {
        self.heads.check()?;
        self.log.check_damage()?;
        self.evidence.check().map_err(Halted::from)?;
        let shown = self.heads.ask_witnesses();
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let fenced = self.clock.now()?;
        let ahead = fenced.millis().saturating_sub(guard.mark().time.millis());
        if Duration::from_millis(ahead) > self.clock_gap_max {
            return Err(ClockError::Gap { ahead_s: ahead / 1000 }.into());
        }
        // A gap is confirmed once, at start; while this process lives the monotonic clock takes over.
        self.clock_gap_max = Duration::MAX;
        let objects = self.log.tiles.objects();
        let (identity, view) = (self.heads.identity(), self.log.view());
        let newest = view.as_ref().map(|view| &view.checkpoint);
        let seen = |tiles: &Tiles, frontier: &Frontier| {
            check_all(&shown, tiles, frontier, newest, &identity.log, &self.evidence)
        };
        let origin = identity.origin.as_str();
        let recovered = recover(objects, &mut guard, origin, seen, nonce)?;
        drop(guard);
        let started = Instant::now();
        let mut edge = recovered.edge;
        block_on(self.log.fill_index(&edge))?;
        let orders = block_on(self.log.find_orders(&edge))?;
        self.log.tiles.erase(&orders);
        for order in &orders {
            edge.erase(order.target);
        }
        // Recovery made all of it durable; what is held may have statements in it that are gone below.
        self.log.tiles.all_settled();
        let edge = Arc::new(edge);
        let origin = self.rules.log();
        let ledger = block_on(admission::recover(&self.log, &edge, origin))?;
        self.log.admission.begin(ledger, Arc::clone(&edge), recovered.sequencer.at());
        let (tree_size, elapsed_ms) = (edge.size().get(), started.elapsed().as_millis());
        info!(tree_size, commit = recovered.sequencer.number(), elapsed_ms, "recovered");
        let term = Term { sequencer: recovered.sequencer, edge, settler: None, fenced };
        Ok((term, Found { retained: recovered.retained, orders }))
    }

    fn turn(&mut self, term: &mut Term) -> Result<(), Stop> {
        let mut renew_at = Instant::now() + self.pace.renew;
        let mut before = 0;
        loop {
            let grown = match self.log.queue.take(renew_at.min(soon()), before) {
                Taken::Batch(submissions) if self.has_room()? => {
                    before = submissions.len();
                    self.append(term, submissions)?
                }
                Taken::Batch(submissions) => {
                    before = 0;
                    self.turn_away(term, submissions)?;
                    false
                }
                Taken::Idle => {
                    before = 0;
                    self.has_room()?;
                    false
                }
                Taken::Interrupted => {
                    if term.settler.as_ref().is_some_and(Settler::has_failed) {
                        let settled = term.settler.take().map_or(Ok(()), Settler::finish);
                        return settled.and(Err(Stop::Settler));
                    }
                    self.heads.check()?;
                    self.log.check_damage()?;
                    match self.keep_rules(term) {
                        Err(stop @ Stop::Rules(_)) if !stop.may_pass() => {
                            error!(%stop, "the rules stay as they are");
                            false
                        }
                        changed => changed?,
                    }
                }
                Taken::Shutdown => return Ok(()),
            };
            // What the log has already comes as batches too, and renews nothing.
            if !grown && Instant::now() >= renew_at {
                self.renew(term)?;
            } else if !grown {
                continue;
            }
            renew_at = Instant::now() + self.pace.renew;
        }
    }

    /// Whether the disk has room for more, which is told when it changes.
    fn has_room(&mut self) -> Result<bool, Stop> {
        let free = self.log.tiles.objects().free_bytes()?.unwrap_or(u64::MAX);
        let (had, has) = (self.log.status() == Status::Writing, self.room.allows(free));
        if had && !has {
            error!(free_bytes = free, "the disk has no room: nothing new is taken until it has; reads go on");
            self.log.set_status(Status::NoRoom);
        } else if has && !had {
            info!(free_bytes = free, "the disk has room again");
            self.log.set_status(Status::Writing);
        }
        Ok(has)
    }

    /// Answers what the log has already; all else is not stored.
    fn turn_away(&self, term: &Term, submissions: Vec<Submission>) -> Result<(), Stop> {
        for Submission { admitted, reply } in submissions {
            let outcome = match block_on(self.log.find_id(&term.edge, admitted.id.as_bytes()))? {
                Some(index) => Outcome::Known { index, edge: Arc::clone(&term.edge) },
                None => Outcome::NoRoom,
            };
            // Whoever no longer listens can ask again.
            let _ = reply.send(outcome);
        }
        Ok(())
    }

    /// Signs an idle log's tree again. Where others can write, an empty commit comes before that: whoever was overtaken
    /// signs nothing any more.
    fn renew(&mut self, term: &mut Term) -> Result<(), Stop> {
        if self.log.tiles.objects().is_shared() {
            let at = self.clock.now()?.max(term.sequencer.at());
            let sealed = term.sequencer.seal(at, nonce(), Vec::new())?;
            self.commit(&sealed)?;
            self.read_back(term, &sealed)?;
            term.sequencer.committed(&sealed);
            term.fenced = at;
            self.hand_on(term, &sealed.header, at, Vec::new(), Vec::new())?;
        }
        self.attest(term)
    }

    /// Signs the same tree again with the present time, which the guard holds first. Where others can write, one of them may
    /// have dated entries since others were kept off: no later time than that is attested there.
    fn attest(&mut self, term: &mut Term) -> Result<(), Stop> {
        let now = if self.log.tiles.objects().is_shared() { term.fenced } else { self.clock.now()? };
        let time = now.max(term.sequencer.at());
        let mark = self.mark(term, time);
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).advance(mark)?;
        term.sequencer.attested(time);
        self.heads.committed(&self.log, &term.edge, time)?;
        Ok(())
    }

    fn mark(&self, term: &Term, time: Timestamp) -> Mark {
        let origin = self.heads.identity().origin.to_string();
        Mark { origin, commit: term.sequencer.number(), head: term.sequencer.head(), time }
    }

    /// Logs the rules that the configuration asks for, if others are in force. Returns whether the log has grown.
    fn keep_rules(&mut self, term: &mut Term) -> Result<bool, Stop> {
        let Some(in_force) = self.log.admission.rules() else { return Ok(false) };
        let Some(admitted) = self.rules.due(&in_force)? else { return Ok(false) };
        let (reply, _nobody) = oneshot::channel();
        info!("the configuration asks for other rules: they are logged");
        self.append(term, vec![Submission { admitted: admitted.into(), reply }])
    }

    /// What was taken from the queue, to the replies. Returns whether the log has grown.
    fn append(&mut self, term: &mut Term, submissions: Vec<Submission>) -> Result<bool, Stop> {
        let (mut rest, mut grown) = (submissions, false);
        while !rest.is_empty() {
            let at = self.clock.now()?.max(term.sequencer.at());
            let parted = self.part(term, rest, at)?;
            grown |= !parted.fresh.is_empty();
            rest = self.batch(term, parted, at)?;
        }
        Ok(grown)
    }

    /// One batch, dated `at`. Returns what has to come after it.
    fn batch(&mut self, term: &mut Term, parted: Parted, at: Timestamp) -> Result<Vec<Submission>, Stop> {
        let started = Instant::now();
        let Parted { fresh, known, refused, rest } = parted;
        if !fresh.is_empty() {
            let (admitted, replies): (Vec<_>, Vec<_>) =
                fresh.into_iter().map(|submission| (submission.admitted, submission.reply)).unzip();
            let decided = admitted.last().and_then(|last| last.judged.decides()).cloned();
            let sealed = term.sequencer.seal(at, nonce(), admitted)?;
            self.commit(&sealed)?;
            self.read_back(term, &sealed)?;
            let (committed, size) = (started.elapsed(), sealed.header.new.size.get());
            let batch = Arc::new(self.publish(term, sealed, decided.as_ref())?);
            self.metrics.committed(batch.leaves.len(), size, committed);
            if batch.published.is_some() {
                self.metrics.published(started.elapsed());
            }
            info!(
                tree_size = size,
                batch_leaves = batch.leaves.len(),
                elapsed_ms = started.elapsed().as_millis(),
                "{}",
                if batch.published.is_some() { "published" } else { "committed" }
            );
            for (position, reply) in replies.into_iter().enumerate() {
                // Whoever no longer listens can ask again: the receipt is in the log.
                let _ = reply.send(Outcome::Appended { batch: Arc::clone(&batch), position });
            }
        }
        for (submission, index) in known {
            let _ = submission.reply.send(Outcome::Known { index, edge: Arc::clone(&term.edge) });
        }
        // Only now is there a log of the size that they were judged against.
        for (submission, refused) in refused {
            let (id, refused) = (submission.admitted.id, Box::new(refused));
            let _ = submission.reply.send(Outcome::Refused { id, refused });
        }
        Ok(rest)
    }

    /// Parts what is new from what the log has, or what comes twice at once, and judges each record once more, as it stands before
    /// its place. A record by which others are judged ends its batch, so that they are.
    fn part(&self, term: &Term, submissions: Vec<Submission>, at: Timestamp) -> Result<Parted, Stop> {
        let mut next = term.edge.size().next_index();
        let mut in_flight = HashMap::new();
        let mut parted = Parted { fresh: Vec::with_capacity(submissions.len()), ..Parted::default() };
        let mut submissions = submissions.into_iter();
        for submission in submissions.by_ref() {
            let id = submission.admitted.id;
            let before = match in_flight.get(&id) {
                Some(&index) => Some(index),
                None => block_on(self.log.find_id(&term.edge, id.as_bytes()))?,
            };
            if let Some(index) = before {
                parted.known.push((submission, index));
                continue;
            }
            if let Err(refused) = self.log.admission.judge(&submission.admitted.judged, at) {
                let size = TreeSize::new(next.get())?;
                parted.refused.push((submission, RefusedAt { refused, size, at }));
                continue;
            }
            in_flight.insert(id, next);
            next = next.size_through().next_index();
            let decides = submission.admitted.judged.decides().is_some();
            parted.fresh.push(submission);
            if decides {
                break;
            }
        }
        parted.rest = submissions.collect();
        Ok(parted)
    }

    /// Creates the record: the point from which on nothing of it is lost. Where others can write, it is a stray if one of
    /// them has gone past it.
    fn commit(&self, sealed: &Sealed) -> Result<(), Stop> {
        let number = sealed.header.number;
        match self.log.tiles.objects().create_commit(number, sealed.record.clone())? {
            Created::Found => Err(Stop::Fenced { number }),
            Created::Made if is_overtaken(self.log.tiles.objects(), &sealed.header)? => {
                Err(Stop::Overtaken { number })
            }
            Created::Made => Ok(()),
        }
    }

    /// Reads the record again and recomputes everything from what admission checked: memory is not trusted.
    fn read_back(&self, term: &Term, sealed: &Sealed) -> Result<(), Stop> {
        let (objects, number) = (self.log.tiles.objects(), sealed.header.number);
        let mut reason = ReadBackError::Bytes;
        for _ in 0..READ_BACK_ATTEMPTS {
            let found = objects.get(&commit_name(number))?.unwrap_or_default();
            match sealed.check_read_back(term.sequencer.frontier(), &found) {
                Ok(()) => return Ok(()),
                Err(error) => reason = error,
            }
        }
        // Where others can write, the record of a writer that stood still may be settled by now, and gone.
        if is_overtaken(objects, &sealed.header)? {
            return Err(Stop::Overtaken { number });
        }
        // With this marker, and only with it, an explicit command may set the record aside: nobody was told of it.
        objects.create(&never_told_name(number), Bytes::from(reason.to_string()))?;
        Err(Stop::ReadBack { number, reason })
    }

    /// Takes the batch for committed, and lets its head be signed and readers see it.
    ///
    /// `decided` is the statement of its last record, if others are judged by that.
    fn publish(
        &mut self,
        term: &mut Term,
        sealed: Sealed,
        decided: Option<&Statement>,
    ) -> Result<Batch, Stop> {
        term.sequencer.committed(&sealed);
        let orders = self.orders(term, &sealed)?;
        self.log.tiles.erase(&orders);
        let mut edge = Edge::clone(&term.edge);
        for order in &orders {
            edge.erase(order.target);
        }
        edge.frontier = sealed.frontier;
        let mut filled: Vec<_> = sealed.filled.iter().map(full_tile).collect();
        for leaf in &sealed.leaves {
            filled.extend(edge.push_item(leaf.item.clone()).into_iter().flatten());
            self.log.index_entry(&leaf.id, leaf.hash, leaf.kind);
        }
        term.edge = Arc::new(edge);
        self.log.tiles.hold(filled.iter().cloned());
        let decided = decided.zip(sealed.leaves.last().map(|leaf| leaf.hash));
        self.log.admission.committed(Arc::clone(&term.edge), sealed.at, decided);
        let view = self.heads.committed(&self.log, &term.edge, sealed.at)?;
        self.hand_on(term, &sealed.header, sealed.at, filled, orders)?;
        let published = match view {
            Some(view) => Some(Published { view, filled: sealed.filled }),
            None => {
                self.log.tiles.remember(sealed.filled);
                None
            }
        };
        Ok(Batch { leaves: sealed.leaves, published })
    }

    /// Has a commit settled that the term has taken in.
    fn hand_on(
        &self,
        term: &mut Term,
        header: &Header,
        at: Timestamp,
        filled: Vec<(TilePath, Bytes)>,
        orders: Vec<Order>,
    ) -> Result<(), Stop> {
        let commit = Retained { number: header.number, old: header.old.size, size: header.new.size };
        let step = Step { filled, commit, mark: self.mark(term, at), edge: Arc::clone(&term.edge), orders };
        if let Some(settler) = term.settler.take() {
            term.settler = Some(settler.send(step)?);
        }
        Ok(())
    }
}

impl Driver {
    /// What the erasure records of a batch order. What they erase lies before the batch, or they would not be in it.
    fn orders(&self, term: &Term, sealed: &Sealed) -> Result<Vec<Order>, Stop> {
        let mut orders = Vec::new();
        for leaf in sealed.leaves.iter().filter(|leaf| leaf.kind == Kind::Erasure) {
            orders.extend(block_on(self.log.order_of(&term.edge, leaf.index, &leaf.item.entry))?);
        }
        Ok(orders)
    }
}

fn full_tile(tile: &FullTile) -> (TilePath, Bytes) {
    let path = TilePath::full(TileKind::Hashes(tile.id.level), tile.id.index);
    (path, tile.tree.to_bytes(TILE_WIDTH).into())
}

/// When to look for room again, if nothing comes.
fn soon() -> Instant {
    Instant::now() + ROOM_PERIOD
}

/// 16 bytes that no other attempt has.
fn nonce() -> [u8; 16] {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).expect("the system gives random bytes");
    nonce
}
