package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

func (w *walk) checkpoint() (string, error) {
	var err error
	if w.raw, err = w.site.get("checkpoint"); err != nil {
		return "", err
	}
	c, err := openCheckpoint(w.raw, w.logKey)
	if err != nil {
		return "", err
	}
	w.tree = c.Tree
	if c.N == 0 {
		return "", errors.New("the tree is empty: entry 0 is written when a log is made")
	}
	return fmt.Sprintf("%s, size %d, root %s", c.Origin, c.N, c.Hash), nil
}

// openCheckpoint has sumdb/note open the note and torchwood parse it, and wants the text as either prints it.
func openCheckpoint(raw []byte, key note.Verifier) (c torchwood.Checkpoint, err error) {
	n, err := note.Open(raw, note.VerifierList(key))
	if err != nil {
		return c, err
	}
	if c, err = torchwood.ParseCheckpoint(n.Text); err != nil {
		return c, err
	}
	sigs := slices.Concat(n.Sigs, n.UnverifiedSigs)
	for _, s := range sigs {
		if _, err := decodeBase64(s.Base64); err != nil {
			return c, fmt.Errorf("signature of %s: %w", s.Name, err)
		}
	}
	switch {
	case c.Origin != key.Name():
		return c, fmt.Errorf("origin %q, the log key's name %q", c.Origin, key.Name())
	case c.Extension != "":
		return c, fmt.Errorf("extension lines %q", c.Extension)
	case c.String() != n.Text:
		return c, errors.New("the text does not print back as it is")
	case strings.Count(string(raw[len(n.Text):]), "\n") != 1+len(sigs):
		return c, errors.New("a signature line is there twice")
	}
	return c, nil
}

func (w *walk) clock() (string, error) {
	var err error
	if w.time, err = clockTime(w.raw, w.logKey, w.clockKey); err != nil {
		return "", err
	}
	if off := time.Since(time.Unix(w.time, 0)).Abs(); off > w.skew {
		return "", fmt.Errorf("cosigned at %d, %s from now", w.time, off.Round(time.Second))
	}
	return fmt.Sprintf("%s cosigned at %s", w.clockKey.Name(), time.Unix(w.time, 0).UTC().Format(time.RFC3339)), nil
}

func clockTime(raw []byte, logKey note.Verifier, clockKey *torchwood.CosignatureVerifier) (int64, error) {
	if want := logKey.Name() + "/clock"; clockKey.Name() != want {
		return 0, fmt.Errorf("the clock key's name is %q, want %q", clockKey.Name(), want)
	}
	n, err := note.Open(raw, note.VerifierList(logKey, clockKey))
	if err != nil {
		return 0, err
	}
	for _, sig := range n.Sigs {
		if sig.Name == clockKey.Name() && sig.Hash == clockKey.KeyHash() {
			return torchwood.CosignatureTimestamp(sig)
		}
	}
	return 0, errors.New("no clock cosignature")
}

func (w *walk) checkPolicy() (string, error) {
	var err error
	if w.policy, err = torchwood.ParsePolicy(w.policyText); err != nil {
		return "", err
	}
	c, n, err := torchwood.VerifyCheckpoint(w.raw, w.policy)
	if err != nil {
		return "", err
	}
	if c.Origin != w.origin() || c.Tree != w.tree {
		return "", fmt.Errorf("accepts %s %d, another checkpoint than the log key's", c.Origin, c.N)
	}
	return fmt.Sprintf("satisfied, %d signature(s) counted", len(n.Sigs)), nil
}
