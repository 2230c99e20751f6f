package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// walk is one pass over a log. Each check builds on what those before it proved.
type walk struct {
	config
	ctx        context.Context
	site       *site
	logKey     note.Verifier
	clockKey   *torchwood.CosignatureVerifier
	policyText []byte

	raw     []byte    // the checkpoint as served
	tree    tlog.Tree // its size and root
	time    int64     // its clock cosignature's
	policy  torchwood.Policy
	reader  tlog.HashReader
	leaves  []tlog.Hash
	entries []entry
}

func newWalk(ctx context.Context, c config) (*walk, error) {
	w := &walk{config: c, ctx: ctx, site: newSite(ctx, c.url)}
	var err error
	if w.logKey, err = note.NewVerifier(c.logVkey); err != nil {
		return nil, unable{fmt.Errorf("-log-vkey: %w", err)}
	}
	if w.clockKey, err = torchwood.NewCosignatureVerifier(c.clockVkey); err != nil {
		return nil, unable{fmt.Errorf("-clock-vkey: %w", err)}
	}
	if w.policyText, err = os.ReadFile(c.policy); err != nil {
		return nil, unable{err}
	}
	return w, nil
}

func (w *walk) origin() string { return w.logKey.Name() }

// tiles reads every leaf hash through x/mod's reader, and then trusts nothing of it:
// the root, and every tile of every level, must come out of the leaf hashes alone.
func (w *walk) tiles() (string, error) {
	tr := newTileReader(w.site)
	w.reader = tlog.TileHashReader(w.tree, tr)
	const batch = 64 * torchwood.TileWidth
	for lo := int64(0); lo < w.tree.N; lo += batch {
		var indexes []int64
		for i := lo; i < min(lo+batch, w.tree.N); i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
		}
		hashes, err := w.reader.ReadHashes(indexes)
		if err != nil {
			return "", err
		}
		w.leaves = append(w.leaves, hashes...)
	}
	if root := rootOf(w.leaves); root != w.tree.Hash {
		return "", fmt.Errorf("the leaf hashes give root %s, the checkpoint says %s", root, w.tree.Hash)
	}
	count := 0
	for level, hashes := 0, w.leaves; len(hashes) > 0; level++ {
		var above []tlog.Hash
		for n := int64(0); len(hashes) > 0; n++ {
			part := hashes[:min(len(hashes), torchwood.TileWidth)]
			tile := tlog.Tile{H: torchwood.TileHeight, L: level, N: n, W: len(part)}
			data, err := tr.ReadTiles([]tlog.Tile{tile})
			if err != nil {
				return "", err
			}
			if want := slices.Concat(asBytes(part)...); !bytes.Equal(data[0], want) {
				return "", fmt.Errorf("/%s is not what the leaf hashes give", torchwood.TilePath(tile))
			}
			if len(part) == torchwood.TileWidth {
				above = append(above, rootOf(part))
			}
			hashes = hashes[len(part):]
			count++
		}
		hashes = above
	}
	root, err := tlog.TreeHash(w.tree.N, w.reader)
	if err == nil && root != w.tree.Hash {
		err = fmt.Errorf("tlog.TreeHash gives %s", root)
	}
	return fmt.Sprintf("%d, each as the leaf hashes give it, and the root", count), err
}

func asBytes(hashes []tlog.Hash) [][]byte {
	out := make([][]byte, len(hashes))
	for i := range hashes {
		out[i] = hashes[i][:]
	}
	return out
}

// rootOf is RFC 6962's tree head of at least one leaf hash.
func rootOf(leaves []tlog.Hash) tlog.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return tlog.NodeHash(rootOf(leaves[:k]), rootOf(leaves[k:]))
}

// entryBundles has torchwood's client read and authenticate every entry.
func (w *walk) entryBundles() (string, error) {
	fetcher, err := torchwood.NewTileFetcher(w.site.base, torchwood.WithTilePath(torchwood.TilePath),
		torchwood.WithHTTPClient(w.site.client), torchwood.WithConcurrencyLimit(8))
	if err != nil {
		return "", unable{err}
	}
	client, err := torchwood.NewClient(fetcher, torchwood.WithTimeout(20*time.Second))
	if err != nil {
		return "", unable{err}
	}
	last := int64(0)
	for i, data := range client.AllEntries(w.ctx, w.tree, 0) {
		if i != int64(len(w.entries)) {
			return "", fmt.Errorf("entry %d after %d entries", i, len(w.entries))
		}
		if h := tlog.RecordHash(data); h != w.leaves[i] {
			return "", fmt.Errorf("entry %d hashes to %s, its leaf is %s", i, h, w.leaves[i])
		}
		e, err := parseEntry(data)
		if err != nil {
			return "", fmt.Errorf("entry %d: %w", i, err)
		}
		if e.at < last {
			return "", fmt.Errorf("entry %d: at goes back from %d to %d", i, last, e.at)
		}
		last = e.at
		w.entries = append(w.entries, e)
	}
	if err := client.Err(); err != nil {
		return "", err
	}
	if int64(len(w.entries)) != w.tree.N {
		return "", fmt.Errorf("%d entries in a tree of %d", len(w.entries), w.tree.N)
	}
	if last/1000 > w.time {
		return "", fmt.Errorf("the newest entry is of %d, after the checkpoint's time %d", last, w.time)
	}
	return fmt.Sprintf("%d, all canonical and in the tree, at never goes back", len(w.entries)), nil
}

// statementBundles checks every statement against its entry. An empty slot is right only where an erasure names it.
func (w *walk) statementBundles() (string, error) {
	erased := make(map[string]bool)
	for _, e := range w.entries {
		if e.kind == "erasure" {
			erased[e.about] = true
		}
	}
	checked, empty := 0, 0
	for lo := int64(0); lo < w.tree.N; lo += torchwood.TileWidth {
		width := min(torchwood.TileWidth, w.tree.N-lo)
		tile := tlog.Tile{H: torchwood.TileHeight, L: -1, N: lo / torchwood.TileWidth, W: int(width)}
		path := "statement/" + strings.TrimPrefix(torchwood.TilePath(tile), "tile/entries/")
		rest, err := w.site.get(path)
		if err != nil {
			return "", err
		}
		for i := lo; i < lo+width; i++ {
			var statement []byte
			if statement, rest, err = torchwood.ReadTileEntry(rest); err != nil {
				return "", fmt.Errorf("/%s: slot of entry %d: %w", path, i, err)
			}
			e := w.entries[i]
			if len(statement) > 0 {
				err = e.checkStatement(statement, w.origin())
				checked++
			} else if leaf := w.leaves[i]; !erased[fmt.Sprintf(`"%x"`, leaf[:])] {
				err = errors.New("empty slot, and no erasure record names it")
			} else if empty++; !slices.Contains(erasable, e.kind) {
				err = fmt.Errorf("erased, though it is a %s", e.kind)
			}
			if err != nil {
				return "", fmt.Errorf("entry %d: %w", i, err)
			}
		}
		if len(rest) != 0 {
			return "", fmt.Errorf("/%s: %d bytes after the last slot", path, len(rest))
		}
	}
	return fmt.Sprintf("%d match id, signature and entry, %d erased", checked, empty), nil
}

func (w *walk) headers() (string, error) {
	if w.site.wrong != "" {
		return "", errors.New(w.site.wrong)
	}
	return "content types, and no-store on statements", nil
}
