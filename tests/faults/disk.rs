//! A disk that knows what was synced: contents of files and names in directories, apart.
//!
//! What a log did, played onto a [`Disk`], gives what is there when the process dies, which is all of it, and what may be
//! there when the power goes: of everything that was not synced, any part.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{dice::Dice, template::Files};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// One operation of a file system. Paths are relative to the place that is simulated.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A new, empty file.
    Make(PathBuf),
    /// A new directory.
    MakeDirectory(PathBuf),
    /// Bytes of a file.
    Write(PathBuf, usize, Arc<[u8]>),
    /// A file's length.
    SetLength(PathBuf, usize),
    /// A file's content, or a directory's names.
    Sync(PathBuf),
    /// One name more for a file.
    Link(PathBuf, PathBuf),
    /// Another name for a file, in the place of whatever had it.
    Rename(PathBuf, PathBuf),
    /// One name less.
    Remove(PathBuf),
}

/// What is at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory,
}

/// A change of a file's content that was not synced.
#[derive(Clone, Debug)]
enum Change {
    Write(usize, Arc<[u8]>),
    SetLength(usize),
}

/// A change of a directory's names that was not synced.
#[derive(Clone, Debug)]
enum Naming {
    Set(PathBuf, Node),
    Clear(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

#[derive(Clone, Debug, Default)]
struct Content {
    synced: Vec<u8>,
    pending: Vec<Change>,
    now: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    synced: BTreeMap<PathBuf, Node>,
    pending: Vec<Naming>,
    now: BTreeMap<PathBuf, Node>,
}

/// The disk, with all that was written and not synced.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    contents: Vec<Content>,
    /// By the directory's path; names are whole paths. A directory keeps its path for ever.
    directories: BTreeMap<PathBuf, Names>,
}

/// What becomes of what was not synced when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It is gone.
    Drop,
    /// All of it was on its way fast enough.
    Keep,
    /// Names are gone, contents are there.
    DropNames,
    /// Contents are gone, names are there.
    DropContents,
    /// Any part of it, in sectors, and names in any order.
    Tear,
}

impl Cut {
    /// One way or another.
    pub(crate) fn any(dice: &mut Dice) -> Self {
        *dice.pick(&[
            Self::Drop,
            Self::Drop,
            Self::DropNames,
            Self::DropContents,
            Self::Keep,
            Self::Tear,
            Self::Tear,
        ])
    }
}

impl Disk {
    /// A disk with these files, all of them synced.
    pub(crate) fn new(files: &Files) -> Self {
        let mut disk = Self { contents: Vec::new(), directories: BTreeMap::new() };
        disk.directories.insert(PathBuf::new(), Names::default());
        for (path, bytes) in files {
            let parents: Vec<_> = path.ancestors().skip(1).collect();
            for parent in parents.into_iter().rev() {
                if !disk.directories.contains_key(parent) {
                    disk.apply(&Op::MakeDirectory(parent.to_owned()));
                }
            }
            disk.apply(&Op::Make(path.clone()));
            disk.apply(&Op::Write(path.clone(), 0, bytes.as_slice().into()));
        }
        disk.sync_all();
        disk
    }

    fn sync_all(&mut self) {
        for content in &mut self.contents {
            content.synced.clone_from(&content.now);
            content.pending.clear();
        }
        for names in self.directories.values_mut() {
            names.synced.clone_from(&names.now);
            names.pending.clear();
        }
    }

    /// Whether a file or directory of that name is there now.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.node(path).is_some() || self.directories.contains_key(path)
    }

    fn node(&self, path: &Path) -> Option<Node> {
        self.directories.get(path.parent()?)?.now.get(path).copied()
    }

    fn file(&self, path: &Path) -> usize {
        match self.node(path) {
            Some(Node::File(file)) => file,
            other => panic!("{} is no file: {other:?}", path.display()),
        }
    }

    fn names(&mut self, path: &Path) -> &mut Names {
        let parent = path.parent().expect("a path in the place that is simulated");
        self.directories.get_mut(parent).unwrap_or_else(|| panic!("no directory {}", parent.display()))
    }

    fn set(&mut self, path: &Path, node: Node) {
        let names = self.names(path);
        names.now.insert(path.to_owned(), node);
        names.pending.push(Naming::Set(path.to_owned(), node));
    }

    fn clear(&mut self, path: &Path) {
        let names = self.names(path);
        assert!(names.now.remove(path).is_some(), "{} is not there", path.display());
        names.pending.push(Naming::Clear(path.to_owned()));
    }

    /// Does an operation.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Make(path) => {
                self.contents.push(Content::default());
                self.set(path, Node::File(self.contents.len() - 1));
            }
            Op::MakeDirectory(path) => {
                self.set(path, Node::Directory);
                self.directories.insert(path.clone(), Names::default());
            }
            Op::Write(path, offset, bytes) => {
                let file = self.file(path);
                self.contents[file].change(Change::Write(*offset, Arc::clone(bytes)));
            }
            Op::SetLength(path, length) => {
                let file = self.file(path);
                self.contents[file].change(Change::SetLength(*length));
            }
            Op::Sync(path) => {
                if let Some(names) = self.directories.get_mut(path) {
                    names.synced.clone_from(&names.now);
                    names.pending.clear();
                } else {
                    let file = self.file(path);
                    let content = &mut self.contents[file];
                    content.synced.clone_from(&content.now);
                    content.pending.clear();
                }
            }
            Op::Link(from, to) => {
                let file = self.file(from);
                assert!(self.node(to).is_none(), "{} is there", to.display());
                self.set(to, Node::File(file));
            }
            Op::Rename(from, to) => {
                let file = Node::File(self.file(from));
                assert_eq!(from.parent(), to.parent(), "nothing is renamed into another directory");
                let names = self.names(from);
                names.now.remove(from);
                names.now.insert(to.clone(), file);
                names.pending.push(Naming::Rename(from.clone(), to.clone(), file));
            }
            Op::Remove(path) => self.clear(path),
        }
    }

    /// What is there after the power went: the disk, everything on it synced.
    pub(crate) fn cut(&self, cut: Cut, dice: &mut Dice) -> Self {
        let mut after = self.clone();
        for content in &mut after.contents {
            content.now = content.cut(cut, dice);
        }
        for names in after.directories.values_mut() {
            names.now = names.cut(cut, dice);
        }
        // A directory whose own name is gone is gone with all that is in it.
        let mut there = vec![PathBuf::new()];
        let mut next = 0;
        while let Some(path) = there.get(next).cloned() {
            let names = &after.directories[&path].now;
            there.extend(
                names.iter().filter(|(_, node)| **node == Node::Directory).map(|(path, _)| path.clone()),
            );
            next += 1;
        }
        after.directories.retain(|path, _| there.contains(path));
        after.sync_all();
        after
    }

    /// Writes what is there now below a directory. A file with two names has them here too.
    pub(crate) fn write(&self, home: &Path) -> io::Result<()> {
        let mut written: BTreeMap<usize, PathBuf> = BTreeMap::new();
        for (directory, names) in &self.directories {
            fs::create_dir_all(home.join(directory))?;
            for (path, node) in &names.now {
                let Node::File(file) = *node else { continue };
                let path = home.join(path);
                match written.get(&file) {
                    Some(first) => fs::hard_link(first, &path)?,
                    None => fs::write(&path, &self.contents[file].now)?,
                }
                written.entry(file).or_insert(path);
            }
        }
        Ok(())
    }

    /// What is there now, for whoever wants to compare.
    pub(crate) fn files(&self) -> Files {
        let names = self.directories.values().flat_map(|names| &names.now);
        names
            .filter_map(|(path, node)| match node {
                Node::File(file) => Some((path.clone(), self.contents[*file].now.clone())),
                Node::Directory => None,
            })
            .collect()
    }
}

impl Content {
    fn change(&mut self, change: Change) {
        match &change {
            Change::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if self.now.len() < end {
                    self.now.resize(end, 0);
                }
                self.now[*offset..end].copy_from_slice(bytes);
            }
            Change::SetLength(length) => self.now.resize(*length, 0),
        }
        self.pending.push(change);
    }

    fn cut(&self, cut: Cut, dice: &mut Dice) -> Vec<u8> {
        match cut {
            _ if self.pending.is_empty() => self.now.clone(),
            Cut::Drop | Cut::DropContents => self.synced.clone(),
            Cut::Keep | Cut::DropNames => self.now.clone(),
            Cut::Tear => self.tear(dice),
        }
    }

    /// Of each change, any sectors; where a file grew, the length may be there without the bytes.
    fn tear(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for change in &self.pending {
            match change {
                Change::SetLength(length) => {
                    if dice.one_in(2) {
                        bytes.resize(*length, 0);
                    }
                }
                Change::Write(offset, written) => {
                    let end = offset + written.len();
                    if bytes.len() < end && dice.one_in(2) {
                        bytes.resize(end, 0);
                    }
                    for sector in offset / SECTOR..end.div_ceil(SECTOR) {
                        let (from, to) = ((sector * SECTOR).max(*offset), ((sector + 1) * SECTOR).min(end));
                        if dice.one_in(2) {
                            if bytes.len() < to {
                                bytes.resize(to, 0);
                            }
                            bytes[from..to].copy_from_slice(&written[from - offset..to - offset]);
                        }
                    }
                }
            }
        }
        bytes
    }
}

impl Names {
    fn cut(&self, cut: Cut, dice: &mut Dice) -> BTreeMap<PathBuf, Node> {
        match cut {
            Cut::Drop | Cut::DropNames => self.synced.clone(),
            Cut::Keep | Cut::DropContents => self.now.clone(),
            Cut::Tear => {
                let mut names = self.synced.clone();
                for naming in self.pending.iter().filter(|_| dice.one_in(2)) {
                    match naming {
                        Naming::Set(path, node) => {
                            names.insert(path.clone(), *node);
                        }
                        Naming::Clear(path) => {
                            names.remove(path);
                        }
                        Naming::Rename(from, to, node) => {
                            if names.get(from) == Some(node) {
                                names.remove(from);
                            }
                            names.insert(to.clone(), *node);
                        }
                    }
                }
                names
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk {
        Disk::new(&Files::from([(PathBuf::from("a/old"), b"old".to_vec())]))
    }

    fn after(ops: &[Op], cut: Cut) -> Files {
        let mut disk = disk();
        ops.iter().for_each(|op| disk.apply(op));
        disk.cut(cut, &mut Dice::new(1, 1)).files()
    }

    /// A file is there after a cut when its content and its name were synced; either alone is not enough.
    #[test]
    fn content_and_name_are_synced_apart() {
        let new = PathBuf::from("a/new");
        let make = [Op::Make(new.clone()), Op::Write(new.clone(), 0, (*b"new").into())];
        let content = Op::Sync(new.clone());
        let name = Op::Sync("a".into());
        let with = |ops: &[Op]| after(&[&make, ops].concat(), Cut::Drop).get(&new).cloned();
        assert_eq!(with(&[]), None);
        assert_eq!(with(std::slice::from_ref(&content)), None);
        assert_eq!(with(std::slice::from_ref(&name)), Some(Vec::new()));
        assert_eq!(with(&[content, name]), Some(b"new".to_vec()));
        assert_eq!(after(&make, Cut::Keep).get(&new), Some(&b"new".to_vec()));
    }

    /// A directory that was made and not synced into the one above it is gone, whatever was synced in it.
    #[test]
    fn a_directory_goes_with_all_that_is_in_it() {
        let (directory, new) = (PathBuf::from("a/b"), PathBuf::from("a/b/new"));
        let ops = [
            Op::MakeDirectory(directory.clone()),
            Op::Make(new.clone()),
            Op::Sync(new.clone()),
            Op::Sync(directory),
        ];
        assert_eq!(after(&ops, Cut::Drop).get(&new), None);
        let ops = [&ops[..], &[Op::Sync("a".into())]].concat();
        assert_eq!(after(&ops, Cut::Drop).get(&new), Some(&Vec::new()));
    }

    /// Written over in place, a synced file may have any mixture of old and new sectors.
    #[test]
    fn sectors_are_torn() {
        let mut disk = Disk::new(&Files::from([(PathBuf::from("a"), vec![0; 3 * SECTOR])]));
        disk.apply(&Op::Write("a".into(), 0, vec![1; 3 * SECTOR].into()));
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..100 {
            let files = disk.cut(Cut::Tear, &mut Dice::new(1, round)).files();
            let bytes = &files[Path::new("a")];
            assert!(bytes.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            seen.insert(bytes.iter().step_by(SECTOR).copied().collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), 8, "every mixture comes up");
    }
}
