package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

func base64Hash(s string) (tlog.Hash, error) {
	b, err := decodeBase64(s)
	if err != nil || len(b) != tlog.HashSize {
		return tlog.Hash{}, fmt.Errorf("%q is not the base64 of a hash", s)
	}
	return tlog.Hash(b), nil
}

func hexHash(s string) (tlog.Hash, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != tlog.HashSize || hex.EncodeToString(b) != s {
		return tlog.Hash{}, fmt.Errorf("%q is not a hash in lower-case hex", s)
	}
	return tlog.Hash(b), nil
}

// checkProof has torchwood verify a tlog-proof, and says which index it proves in which tree.
// torchwood reads "+1", "01" and an extra line; ours must print back the same without one.
func checkProof(policy torchwood.Policy, leaf tlog.Hash, text string) (int64, tlog.Tree, error) {
	if err := torchwood.VerifyProof(policy, leaf, []byte(text)); err != nil {
		return 0, tlog.Tree{}, err
	}
	head, note, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 2 || !strings.HasPrefix(lines[1], "index ") {
		return 0, tlog.Tree{}, errors.New("no index line after the first")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return 0, tlog.Tree{}, err
	}
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		h, err := base64Hash(line)
		if err != nil {
			return 0, tlog.Tree{}, err
		}
		path = append(path, h)
	}
	if !bytes.Equal(torchwood.FormatProof(index, path, []byte(note)), []byte(text)) {
		return 0, tlog.Tree{}, errors.New("the proof does not print back as it is")
	}
	c, _, err := torchwood.VerifyCheckpoint([]byte(note), policy)
	return index, c.Tree, err
}

// checkBundle checks a whole .counterfoil.json: form, statement if there is one, and proof.
func checkBundle(policy torchwood.Policy, origin string, raw []byte) (leaf tlog.Hash, index int64, tree tlog.Tree, err error) {
	m, err := exactly(raw, "mediaType", "statement", "entry", "proof")
	if err != nil {
		return
	}
	var mediaType, text, proof string
	var statement *string
	for name, to := range map[string]any{"mediaType": &mediaType, "entry": &text, "proof": &proof, "statement": &statement} {
		if err = json.Unmarshal(m[name], to); err != nil {
			return leaf, 0, tree, fmt.Errorf("%s: %w", name, err)
		}
	}
	if mediaType != "application/vnd.counterfoil.bundle.v1+json" {
		return leaf, 0, tree, fmt.Errorf("media type %q", mediaType)
	}
	e, err := parseEntry([]byte(text))
	if err != nil {
		return leaf, 0, tree, fmt.Errorf("entry: %w", err)
	}
	if statement != nil {
		data, err := decodeBase64(*statement)
		if err == nil {
			err = e.checkStatement(data, origin)
		}
		if err != nil {
			return leaf, 0, tree, fmt.Errorf("statement: %w", err)
		}
	}
	leaf = tlog.RecordHash([]byte(text))
	index, tree, err = checkProof(policy, leaf, proof)
	return leaf, index, tree, err
}

// servedProof decodes a proof answered as JSON: the named integers, leaf and root in hex, hashes in base64.
type servedProof struct {
	ints       map[string]int64
	leaf, root tlog.Hash
	hashes     []tlog.Hash
}

func parseServed(raw []byte, names ...string) (p servedProof, err error) {
	m, err := exactly(raw, names...)
	if err != nil {
		return p, err
	}
	p.ints = make(map[string]int64)
	for _, name := range names {
		switch name {
		case "hashes":
			var list []string
			if err := json.Unmarshal(m[name], &list); err != nil || list == nil {
				return p, fmt.Errorf("hashes: %s", m[name])
			}
			for _, s := range list {
				h, err := base64Hash(s)
				if err != nil {
					return p, err
				}
				p.hashes = append(p.hashes, h)
			}
		case "leaf", "root":
			var s string
			if err := json.Unmarshal(m[name], &s); err != nil {
				return p, fmt.Errorf("%s: %w", name, err)
			}
			h, err := hexHash(s)
			if err != nil {
				return p, fmt.Errorf("%s: %w", name, err)
			}
			if name == "leaf" {
				p.leaf = h
			} else {
				p.root = h
			}
		default:
			n, err := strconv.ParseInt(string(m[name]), 10, 64)
			if err != nil || n < 0 {
				return p, fmt.Errorf("%s: %s is no size or index", name, m[name])
			}
			p.ints[name] = n
		}
	}
	return p, nil
}
