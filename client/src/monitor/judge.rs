//! What a checkpoint is to the tree that the monitor follows, and what follows from that.

use std::path::PathBuf;

use counterfoil_merkle::{TreeHead, checkpoint::SignedCheckpoint, evidence::ForkEvidence};
use counterfoil_receipt::audit::{Code, Place, Report, Seen};

use super::{
    Relation,
    found::Found,
    judge_growth,
    outline::Outline,
    reader::Readers,
    round::{Monitor, Outside},
    state::{Newest, StateError, stripped},
};

/// What came of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is of the tree, or it convicts the log.
    Settled,
    /// Its tree could not be had.
    Open,
}

/// A checkpoint that the log signed, on its way to judgement.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) seen: Seen,
    /// Whether its time may be kept in mind.
    pub(super) timely: bool,
    /// Where it was shown: that place is asked first for its tree.
    pub(super) place: Place,
}

impl Monitor {
    /// Holds a checkpoint of any size against the tree that is followed. `outline` is that of the newest checkpoint, if it
    /// was read already.
    pub(super) async fn judge(
        &mut self,
        shown: Shown,
        readers: &mut Readers,
        outline: &mut Option<Outline>,
        outside: &mut Outside<'_>,
        found: &mut Found,
    ) -> Result<Judged, StateError> {
        let head = shown.seen.head();
        let signed = stripped(&shown.seen.checkpoint, &self.cosigners);
        let Some(newest) = self.state.newest.clone() else {
            return self.larger(shown, signed, readers, outline, outside, found).await;
        };
        match Relation::of(head, newest.head()) {
            Relation::Same => self.same(&shown, signed, newest),
            Relation::OtherRoot => {
                let evidence = ForkEvidence::same_size(newest.checkpoint, signed);
                self.convict(head, Code::ForkSameSize, &evidence, &mut found.fresh)?;
            }
            Relation::Smaller if head.size <= self.state.audit.size() => {
                let own = self.directory.tiles().growth(head.size, self.state.audit.frontier())?;
                let growth =
                    own.then(&newest.ahead).expect("the newest tree starts with the one that was read");
                match judge_growth(signed, newest.checkpoint, growth) {
                    Some(evidence) => self.convict(head, Code::ForkSmaller, &evidence, &mut found.fresh)?,
                    None => self.accept(&shown),
                }
            }
            Relation::Smaller => {
                if outline.is_none() {
                    *outline = Outline::open(newest.head(), readers, &mut found.fresh).await;
                }
                let Some(outline) = outline else { return Ok(Judged::Open) };
                let Some(growth) = outline.growth(head.size, readers, &mut found.fresh).await else {
                    return Ok(Judged::Open);
                };
                match judge_growth(signed, newest.checkpoint, growth) {
                    Some(evidence) => self.convict(head, Code::ForkSmaller, &evidence, &mut found.fresh)?,
                    None => self.accept(&shown),
                }
            }
            Relation::Larger => return self.larger(shown, signed, readers, outline, outside, found).await,
        }
        Ok(Judged::Settled)
    }

    /// The same tree again: kept if its time is newer, or if more of the known cosigners signed it at that time.
    fn same(&mut self, shown: &Shown, signed: SignedCheckpoint, newest: Newest) {
        if newest.checkpoint != signed && shown.timely {
            let worth = |note: &SignedCheckpoint| {
                let verified = note.verify(&self.log).ok()?;
                let time_s = self.clock.as_ref().and_then(|clock| verified.cosignature(clock).ok());
                let good = self.cosigners.iter().filter(|key| verified.cosignature(key).is_ok()).count();
                Some((time_s.map(|time| time.time_s), good))
            };
            if worth(&signed) > worth(&newest.checkpoint) {
                self.state.newest = Some(Newest { checkpoint: signed, ..newest });
                self.dirty = true;
            }
        }
        self.accept(shown);
    }

    /// A larger tree must start with the newest one. If it does, it is the newest from now on, to be read.
    async fn larger(
        &mut self,
        shown: Shown,
        signed: SignedCheckpoint,
        readers: &mut Readers,
        outline: &mut Option<Outline>,
        outside: &mut Outside<'_>,
        found: &mut Found,
    ) -> Result<Judged, StateError> {
        let head = shown.seen.head();
        let Some(mut candidate) = Outline::open(head, readers, &mut found.fresh).await else {
            return Ok(Judged::Open);
        };
        if let Some(newest) = &self.state.newest {
            let Some(growth) = candidate.growth(newest.head().size, readers, &mut found.fresh).await else {
                return Ok(Judged::Open);
            };
            if let Some(evidence) = judge_growth(newest.checkpoint.clone(), signed.clone(), growth) {
                self.convict(head, Code::ForkLarger, &evidence, &mut found.fresh)?;
                return Ok(Judged::Settled);
            }
        }
        if let Some(expected) = self.settings.expect.filter(|expected| expected.size <= head.size) {
            let Some(growth) = candidate.growth(expected.size, readers, &mut found.fresh).await else {
                return Ok(Judged::Open);
            };
            if growth.old_root() != expected.root {
                not_expected(expected, growth.old_root(), &mut found.fresh);
                return Ok(Judged::Open);
            }
        }
        let read = self.state.audit.frontier();
        let Some(ahead) = candidate.growth_of(read, readers, &mut found.fresh).await else {
            return Ok(Judged::Open);
        };
        self.state.newest = Some(Newest { checkpoint: signed, ahead, seen: (outside.now)() });
        self.accept(&shown);
        // What was seen is kept before it is read: whoever signs another tree of this size later is convicted by it.
        self.save(outside, found)?;
        *outline = Some(candidate);
        Ok(Judged::Settled)
    }

    /// Keeps the time of a checkpoint in mind that is of the log's tree.
    fn accept(&mut self, shown: &Shown) {
        if shown.timely {
            let before = self.state.audit.times().clone();
            self.state.audit.remember_time(&shown.seen);
            self.dirty |= *self.state.audit.times() != before;
        }
    }

    /// Reports a proven fork and files the evidence, once for each head that convicts the log.
    fn convict(
        &mut self,
        head: TreeHead,
        code: Code,
        evidence: &ForkEvidence,
        report: &mut Report,
    ) -> Result<(), StateError> {
        evidence.verify(&self.log).expect("what was judged a fork is proven by its evidence");
        let file: Option<PathBuf> = match self.forks.of(head) {
            Some(proven) => Some(proven.path.clone()),
            None => self.forks.add(evidence)?,
        };
        let place = Place::Checkpoint(head.size);
        let ours = self.state.known();
        let heads = format!(
            "the log signed root {} and, followed here, {} at size {}",
            head.root, ours.root, ours.size
        );
        match file {
            Some(file) => report.push(code, place, format_args!("{heads}: evidence in {}", file.display())),
            None => report.push(code, place, format_args!("{heads}: there is evidence enough already")),
        }
        let witnesses = self.policy.iter().flat_map(|policy| policy.witnesses());
        for witness in
            witnesses.map(|(_, listed)| &listed.key).filter(|key| Some(*key) != self.clock.as_ref())
        {
            if evidence.verify_cosigner(witness).is_ok() {
                let message = format_args!("{} cosigned both sides of the fork", witness.name());
                report.push(Code::WitnessForked, place, message);
            }
        }
        Ok(())
    }
}

/// Says that the log is not the one that the monitor's owner expects.
pub(super) fn not_expected(expected: TreeHead, root: counterfoil_merkle::Hash, report: &mut Report) {
    let TreeHead { size, root: wanted } = expected;
    let message = format_args!("the first {size} entries give root {root}; expected is {wanted}");
    report.push(Code::NotExpected, Place::Checkpoint(size), message);
}
