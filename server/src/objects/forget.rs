//! Deleting for good: what is taken out of a data directory here comes back neither by a power cut nor by a copy that lies
//! about under another name.

use std::{fs, io, path::Path as FsPath, sync::PoisonError};

use bytes::Bytes;
use counterfoil_merkle::{
    bundle::{parse_bundle, same_but_erased},
    tile::{TileKind, TilePath},
};
use futures::executor::block_on;
use object_store::{ObjectStore as _, path::Path};

use crate::steps::Step;

use super::{COMMITS, Created, Objects, SET_ASIDE, StoreError, commit_name, is_staging};

impl Objects {
    /// As [`Objects::create_or_compare`], for a bundle of statements: an empty slot, in either, equals anything. What is
    /// there is never written over.
    pub fn create_or_compare_statements(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        if self.create(name, bytes.clone())? == Created::Made {
            return Ok(());
        }
        let found = self.get(name)?.ok_or_else(|| StoreError::Missing { name: name.to_owned() })?;
        if !same_but_erased(&found, &bytes) {
            return Err(StoreError::Differs { name: name.to_owned() });
        }
        self.sync_found(name)
    }

    /// Replaces an object, or makes it, durably: after a power cut it is the one before or this one, never both.
    pub fn replace_durably(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        block_on(self.replace(name, bytes))
    }

    /// Deletes these commit records in the order given, the spare files that earlier ones were kept in, and whatever was
    /// staged beside them. On return none of it comes back.
    ///
    /// No record is created meanwhile. Costs an unlink a file, and one sync of the directory. On a store that others can
    /// write, a tombstone takes each record's place.
    pub fn forget_commits(&self, numbers: &[u64]) -> Result<(), StoreError> {
        if self.is_shared() {
            return numbers.iter().try_for_each(|&number| self.delete_commit(number));
        }
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        for &number in numbers {
            self.delete(&commit_name(number))?;
        }
        spares.clear();
        self.remove(COMMITS, is_staging)?;
        self.sync_names(COMMITS)
    }

    /// The tiles and bundles of a directory, full and partial, in no order. What else lies among them is left out.
    pub fn tile_paths(&self) -> Result<Vec<TilePath>, StoreError> {
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut directories = vec![root.join("tile"), root.join("statement")];
        while let Some(directory) = directories.pop() {
            let failed = |source| StoreError::Directory { path: directory.clone(), source };
            let items = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                items => items.map_err(failed)?,
            };
            for item in items {
                let item = item.map_err(failed)?;
                if item.file_type().map_err(failed)?.is_dir() {
                    directories.push(item.path());
                    continue;
                }
                let path = item.path();
                let name = path.strip_prefix(root).ok().and_then(FsPath::to_str);
                found.extend(name.and_then(|name| name.parse::<TilePath>().ok()));
            }
        }
        Ok(found)
    }

    /// The widths of the partial forms of a tile or bundle that are there, in rising order.
    pub fn partial_widths(&self, kind: TileKind, index: u64) -> Result<Vec<u64>, StoreError> {
        let names = self.names(&partials_of(kind, index))?;
        let mut widths: Vec<_> = names.iter().filter_map(|name| name.parse().ok()).collect();
        widths.sort_unstable();
        Ok(widths)
    }

    /// Deletes the partial forms of a tile or bundle, but that of the width `keep`, and what was staged for any form of it.
    /// On return none of it comes back.
    pub fn forget_partials(&self, kind: TileKind, index: u64, keep: Option<u64>) -> Result<(), StoreError> {
        let kept = keep.map(|width| width.to_string());
        let partials = partials_of(kind, index);
        if self.remove(&partials, |name| Some(name) != kept.as_deref())? {
            self.sync_names(&partials)?;
        }
        let full = TilePath::full(kind, index).to_string();
        let Some((directory, name)) = full.rsplit_once('/') else { return Ok(()) };
        let own = format!("{name}#");
        if self.remove(directory, |name| name.starts_with(&own) && is_staging(name))? {
            self.sync_names(directory)?;
        }
        Ok(())
    }

    /// Whether any form of a bundle of statements has something in that slot. What cannot be read as a bundle may have.
    pub fn has_statement(&self, index: u64, slot: usize) -> Result<bool, StoreError> {
        let full = TilePath::full(TileKind::Statements, index);
        let partial = self.partial_widths(full.kind, index)?.into_iter();
        for path in partial.map(|width| TilePath { width, ..full }).chain([full]) {
            let Some(bundle) = self.get(&path.to_string())? else { continue };
            let has = |items: Vec<&[u8]>| items.get(slot).is_some_and(|item| !item.is_empty());
            if parse_bundle(&bundle).map_or(true, has) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Names of the objects that were set aside and have these bytes in them.
    pub fn set_aside_with(&self, bytes: &[u8]) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        for name in self.names(SET_ASIDE)? {
            let name = format!("{SET_ASIDE}/{name}");
            let has = |object: &Bytes| object.windows(bytes.len()).any(|window| window == bytes);
            if self.get(&name)?.as_ref().is_some_and(has) {
                found.push(name);
            }
        }
        Ok(found)
    }

    /// Names of the files, or objects, of a directory of this store; what was staged in a directory is among them.
    fn names(&self, directory: &str) -> Result<Vec<String>, StoreError> {
        if let Some(root) = &self.root {
            return file_names(&root.join(directory));
        }
        let list = block_on(self.durable.list_with_delimiter(Some(&Path::from(directory))));
        let list = list.map_err(|source| StoreError::Object { name: directory.to_owned(), source })?;
        let names = list.objects.iter().filter_map(|object| object.location.filename());
        Ok(names.map(str::to_owned).collect())
    }

    /// Removes what has such a name in a directory of this store. Whether there was any.
    fn remove(&self, directory: &str, such: impl Fn(&str) -> bool) -> Result<bool, StoreError> {
        let mut any = false;
        for name in self.names(directory)?.into_iter().filter(|name| such(name)) {
            let name = format!("{directory}/{name}");
            match &self.root {
                Some(root) => {
                    let path = root.join(&name);
                    let removed = self.steps.take(Step::Remove { path: &path }, || fs::remove_file(&path));
                    removed.map_err(|source| StoreError::Directory { path, source })?;
                }
                None => self.delete(&name)?,
            }
            any = true;
        }
        Ok(any)
    }

    fn sync_names(&self, directory: &str) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        self.sync(&root.join(directory), directory)
    }
}

/// The directory of the partial forms of a tile or bundle.
fn partials_of(kind: TileKind, index: u64) -> String {
    let mut path = TilePath { kind, index, width: 1 }.to_string();
    path.truncate(path.rfind('/').expect("a partial form lies in a directory"));
    path
}

/// Names of the files in a directory; none if there is no such directory.
fn file_names(directory: &FsPath) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
    let items = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items.map_err(failed)?,
    };
    let mut names = Vec::new();
    for item in items {
        let item = item.map_err(failed)?;
        if !item.file_type().map_err(failed)?.is_dir() {
            names.push(item.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_files(root: &FsPath) -> Vec<String> {
        let mut files = Vec::new();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            for item in fs::read_dir(directory).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        files.sort_unstable();
        files
    }

    /// Forgotten records leave neither their files nor the spare ones, and the log goes on creating records.
    #[test]
    fn nothing_is_left_of_forgotten_commits() {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::init(directory.path()).unwrap();
        let create = |number| {
            let bytes = Bytes::from(vec![b'x'; 100]);
            assert_eq!(objects.create_commit(number, bytes).unwrap(), Created::Made);
        };
        (1..=4).for_each(create);
        objects.delete_commit(1).unwrap();
        fs::write(directory.path().join("commit/00000000000000000002#7"), b"staged").unwrap();
        objects.forget_commits(&[2, 3]).unwrap();
        assert_eq!(all_files(directory.path()), ["commit/00000000000000000004", "lock"]);
        create(5);
        assert_eq!(objects.commit_numbers().unwrap(), [4, 5]);
    }

    /// Of a bundle's partial forms one stays; other bundles, and the full form, are not touched.
    #[test]
    fn partial_forms_go_but_one() {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::init(directory.path()).unwrap();
        for name in ["000", "000.p/7", "000.p/44", "000.p/200", "001.p/7"] {
            objects.create(&format!("statement/{name}"), Bytes::new()).unwrap();
        }
        for staged in ["000#1", "000.p/44#2", "001#1"] {
            fs::write(directory.path().join("statement").join(staged), b"staged").unwrap();
        }
        assert_eq!(objects.partial_widths(TileKind::Statements, 0).unwrap(), [7, 44, 200]);
        objects.forget_partials(TileKind::Statements, 0, Some(44)).unwrap();
        let left = ["lock", "statement/000", "statement/000.p/44", "statement/001#1", "statement/001.p/7"];
        assert_eq!(all_files(directory.path()), left);
        objects.forget_partials(TileKind::Statements, 0, None).unwrap();
        assert_eq!(objects.partial_widths(TileKind::Statements, 0).unwrap(), [0; 0]);
        objects.forget_partials(TileKind::Statements, 77, None).unwrap();
    }

    /// An empty slot equals anything, and nothing that is there is written over for it.
    #[test]
    fn erased_slots_compare_equal() {
        let bundle =
            |items: &[&[u8]]| Bytes::from(counterfoil_merkle::bundle::format_bundle(items.iter().copied()));
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::init(directory.path()).unwrap();
        let (name, half) = ("statement/000", bundle(&[b"one", b""]));
        objects.create_or_compare_statements(name, half.clone()).unwrap();
        for same in [bundle(&[b"one", b"two"]), bundle(&[b"", b"two"]), half.clone()] {
            objects.create_or_compare_statements(name, same).unwrap();
            assert_eq!(objects.get(name).unwrap(), Some(half.clone()));
        }
        for other in [bundle(&[b"two", b""]), bundle(&[b"one"]), bundle(&[b"one", b"", b""]), Bytes::new()] {
            let differs = objects.create_or_compare_statements(name, other);
            assert!(matches!(differs, Err(StoreError::Differs { .. })));
        }
    }
}
