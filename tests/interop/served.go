package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// picks chooses numbers in [lo, hi]: both ends, the middle, and around powers of two.
func picks(lo, hi int64) []int64 {
	all := []int64{lo, (lo + hi) / 2, hi}
	for p := int64(2); p <= hi; p *= 2 {
		all = append(all, p-1, p, p+1)
	}
	all = slices.DeleteFunc(all, func(n int64) bool { return n < lo || n > hi })
	slices.Sort(all)
	return slices.Compact(all)
}

func (w *walk) consistency() (string, error) {
	if status, _, err := w.site.status(fmt.Sprintf("v1/proofs/consistency?from=1&to=%d", int64(1)<<53-1)); err != nil {
		return "", err
	} else if status != http.StatusNotFound {
		return "", fmt.Errorf("a size far above the published one: status %d, want 404", status)
	}
	sizes := picks(1, w.tree.N)
	for _, old := range sizes {
		root, err := tlog.TreeHash(old, w.reader)
		if err != nil {
			return "", err
		}
		if err := w.checkConsistent(tlog.Tree{N: old, Hash: root}, w.tree); err != nil {
			return "", err
		}
	}
	found := fmt.Sprintf("%d sizes lead to %d", len(sizes), w.tree.N)
	if w.oldSize == 0 {
		return found, nil
	}
	return fmt.Sprintf("%s, and the earlier %d does", found, w.oldSize), w.earlier()
}

// earlier checks the tree that the caller remembers.
func (w *walk) earlier() error {
	root, err := base64Hash(w.oldRoot)
	if err != nil {
		return unable{fmt.Errorf("-old-root: %w", err)}
	}
	old := tlog.Tree{N: w.oldSize, Hash: root}
	if err := w.prefix(old); err != nil {
		return err
	}
	// That size was published: its partial tiles must still be there.
	if _, err := tlog.TreeHash(old.N, tlog.TileHashReader(old, newTileReader(w.site))); err != nil {
		return fmt.Errorf("tiles of size %d: %w", old.N, err)
	}
	return w.checkConsistent(old, w.tree)
}

// prefix checks that the tree that was walked begins with another.
func (w *walk) prefix(old tlog.Tree) error {
	if old.N < 1 || old.N > w.tree.N {
		return fmt.Errorf("a tree of %d was published, the log's has %d", old.N, w.tree.N)
	}
	if root := rootOf(w.leaves[:old.N]); root != old.Hash {
		return fmt.Errorf("at size %d the log's root is %s, not %s", old.N, root, old.Hash)
	}
	return nil
}

func (w *walk) checkConsistent(old, now tlog.Tree) error {
	body, err := w.site.get(fmt.Sprintf("v1/proofs/consistency?from=%d&to=%d", old.N, now.N))
	if err != nil {
		return err
	}
	p, err := parseServed(body, "from", "to", "hashes")
	if err != nil {
		return err
	}
	if p.ints["from"] != old.N || p.ints["to"] != now.N {
		return fmt.Errorf("asked for %d to %d, got %s", old.N, now.N, body)
	}
	if err := tlog.CheckTree(p.hashes, now.N, now.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("from %d to %d: %w", old.N, now.N, err)
	}
	return nil
}

func (w *walk) inclusion() (string, error) {
	indexes := picks(0, w.tree.N-1)
	for _, i := range indexes {
		if tree, err := w.checkIncluded(fmt.Sprintf("index=%d&size=%d", i, w.tree.N), i); err != nil {
			return "", err
		} else if tree != w.tree {
			return "", fmt.Errorf("index %d: size %d root %s is not the checkpoint's", i, tree.N, tree.Hash)
		}
	}
	// Without a size, the newest: the log may have grown meanwhile.
	tree, err := w.checkIncluded("index=0", 0)
	if err != nil {
		return "", err
	}
	if tree.N < w.tree.N {
		return "", fmt.Errorf("index 0: size %d is below the checkpoint's %d", tree.N, w.tree.N)
	}
	if err := w.checkConsistent(w.tree, tree); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d indexes in %d", len(indexes), w.tree.N), nil
}

func (w *walk) checkIncluded(query string, index int64) (tlog.Tree, error) {
	body, err := w.site.get("v1/proofs/inclusion?" + query)
	if err != nil {
		return tlog.Tree{}, err
	}
	p, err := parseServed(body, "index", "leaf", "size", "root", "hashes")
	if err != nil {
		return tlog.Tree{}, err
	}
	if p.ints["index"] != index || p.leaf != w.leaves[index] {
		return tlog.Tree{}, fmt.Errorf("asked for index %d, leaf %s, got %s", index, w.leaves[index], body)
	}
	tree := tlog.Tree{N: p.ints["size"], Hash: p.root}
	if err := tlog.CheckRecord(p.hashes, tree.N, tree.Hash, index, p.leaf); err != nil {
		return tree, fmt.Errorf("index %d in %d: %w", index, tree.N, err)
	}
	return tree, nil
}

func (w *walk) proofFile() (string, error) {
	if w.proof == "" {
		return "", nil
	}
	leaf, err := hexHash(w.leaf)
	if err != nil {
		return "", unable{fmt.Errorf("-leaf-hash: %w", err)}
	}
	text, err := os.ReadFile(w.proof)
	if err != nil {
		return "", unable{err}
	}
	index, tree, err := checkProof(w.policy, leaf, string(text))
	if err != nil {
		return "", err
	}
	return w.inWalk(leaf, index, tree)
}

func (w *walk) bundleFile() (string, error) {
	if w.bundle == "" {
		return "", nil
	}
	raw, err := os.ReadFile(w.bundle)
	if err != nil {
		return "", unable{err}
	}
	leaf, index, tree, err := checkBundle(w.policy, w.origin(), raw)
	if err != nil {
		return "", err
	}
	return w.inWalk(leaf, index, tree)
}

// inWalk checks that what a file proved is so in the log that was walked.
func (w *walk) inWalk(leaf tlog.Hash, index int64, tree tlog.Tree) (string, error) {
	if err := w.prefix(tree); err != nil {
		return "", err
	}
	if w.leaves[index] != leaf {
		return "", fmt.Errorf("the log's leaf %d is %s", index, w.leaves[index])
	}
	return fmt.Sprintf("entry %d in %d", index, tree.N), nil
}
