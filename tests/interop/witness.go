package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A request of C2SP tlog-witness: the size the witness is believed to have, a proof from there, a checkpoint.
type addition struct {
	old   int64
	proof tlog.TreeProof
	note  []byte
}

func (a addition) body() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", a.old)
	for _, h := range a.proof {
		fmt.Fprintf(&b, "%s\n", h)
	}
	b.WriteByte('\n')
	b.Write(a.note)
	return b.Bytes()
}

// client speaks to a witness as a log would.
type client struct {
	*walk
	prefix string
	key    *torchwood.CosignatureVerifier
}

func (c *client) post(body []byte) (status int, contentType string, answer []byte, err error) {
	req, err := http.NewRequestWithContext(c.ctx, "POST", c.prefix+"/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, unable{err}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", nil, unable{err}
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, resp.Header.Get("Content-Type"), answer, err
}

// refused wants one status, and that nothing else is said than what the status calls for.
func (c *client) refused(what string, body []byte, want int) error {
	status, contentType, answer, err := c.post(body)
	switch {
	case err != nil:
		return err
	case status != want:
		return fmt.Errorf("%s: status %d, want %d: %.200q", what, status, want, answer)
	case status == http.StatusConflict && contentType != "text/x.tlog.size":
		return fmt.Errorf("%s: Content-Type %q, want text/x.tlog.size", what, contentType)
	case bytes.HasPrefix(answer, []byte("— ")):
		return fmt.Errorf("%s: refused, and cosigned", what)
	}
	return nil
}

// cosigned wants a cosignature, and gives the checkpoint with it and its time.
func (c *client) cosigned(a addition) ([]byte, int64, error) {
	status, _, answer, err := c.post(a.body())
	if err != nil {
		return nil, 0, err
	}
	if status != http.StatusOK {
		return nil, 0, fmt.Errorf("old %d: status %d: %.200q", a.old, status, answer)
	}
	signed := slices.Concat(a.note, answer)
	n, err := note.Open(signed, note.VerifierList(c.logKey, c.key))
	if err != nil {
		return nil, 0, err
	}
	for _, sig := range n.Sigs {
		if sig.Name != c.key.Name() || sig.Hash != c.key.KeyHash() {
			continue
		}
		time, err := torchwood.CosignatureTimestamp(sig)
		return signed, time, err
	}
	return nil, 0, errors.New("no cosignature of that key in the answer")
}

// has asks the witness, by a size it cannot have, for the one that it has. One that has none cosigns at once.
func (c *client) has() (int64, error) {
	for old := int64(0); old < 2; old++ {
		status, contentType, answer, err := c.post(addition{old: old, note: c.raw}.body())
		if err != nil {
			return 0, err
		}
		if status == http.StatusConflict && contentType == "text/x.tlog.size" {
			size, err := strconv.ParseInt(strings.TrimSuffix(string(answer), "\n"), 10, 64)
			if err == nil && string(answer) != fmt.Sprintf("%d\n", size) {
				err = fmt.Errorf("a size is answered as %q", answer)
			}
			return size, err
		}
		if old == 0 && status == http.StatusOK {
			return c.tree.N, nil
		}
	}
	return 0, errors.New("no conflict over sizes 0 and 1")
}

// proof leads from an older size to the checkpoint's.
func (c *client) proof(old int64) (tlog.TreeProof, error) {
	if old == 0 || old == c.tree.N {
		return nil, nil
	}
	return tlog.ProveTree(c.tree.N, old, c.reader)
}

// witness has a witness cosign an earlier checkpoint and then this one, and refuse everything else.
func (w *walk) witness() (string, error) {
	if w.witnessURL == "" {
		return "", nil
	}
	key, err := torchwood.NewCosignatureVerifier(w.witnessVkey)
	if err != nil {
		return "", unable{fmt.Errorf("-witness-vkey: %w", err)}
	}
	c := &client{w, strings.TrimSuffix(w.witnessURL, "/"), key}
	if w.earlierNote != "" {
		if err := c.submitEarlier(); err != nil {
			return "", err
		}
	}
	old, err := c.has()
	if err != nil {
		return "", err
	}
	proof, err := c.proof(old)
	if err != nil {
		return "", fmt.Errorf("no proof from its size %d: %w", old, err)
	}
	if err := c.refuseUnproven(old, proof); err != nil {
		return "", err
	}
	signed, first, err := c.cosigned(addition{old, proof, c.raw})
	if err != nil {
		return "", err
	}
	if off := time.Since(time.Unix(first, 0)).Abs(); off > w.skew {
		return "", fmt.Errorf("cosigned at %d, %s from now", first, off.Round(time.Second))
	}
	if err := c.refuseTheRest(old); err != nil {
		return "", err
	}
	if _, again, err := c.cosigned(addition{c.tree.N, nil, c.raw}); err != nil || again < first {
		return "", fmt.Errorf("the same checkpoint again: time %d after %d, %w", again, first, err)
	}
	if err := c.accepted(signed); err != nil {
		return "", err
	}
	if err := c.shown(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s cosigned size %d after %d, and nothing that it must not", key.Name(), c.tree.N, old), nil
}

// submitEarlier brings the witness to an earlier checkpoint, unless it is past that.
func (c *client) submitEarlier() error {
	raw, err := os.ReadFile(c.earlierNote)
	if err != nil {
		return unable{err}
	}
	earlier, err := openCheckpoint(raw, c.logKey)
	if err != nil {
		return fmt.Errorf("the earlier checkpoint: %w", err)
	}
	a := addition{0, nil, raw}
	status, _, _, err := c.post(a.body())
	if err != nil || status == http.StatusConflict {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("the earlier checkpoint, for the first time: status %d", status)
	}
	a.old = earlier.N
	_, _, err = c.cosigned(a)
	return err
}

// refuseUnproven tries what a witness of a smaller size must not believe.
func (c *client) refuseUnproven(old int64, proof tlog.TreeProof) error {
	if len(proof) == 0 {
		return nil
	}
	changed := slices.Clone(proof)
	changed[0][0] ^= 1
	for _, try := range []struct {
		what  string
		proof tlog.TreeProof
	}{
		{"no proof", nil},
		{"a proof with a changed hash", changed},
		{"a proof with a hash too many", append(slices.Clone(proof), tlog.Hash{})},
		{"a proof with a hash too few", proof[:len(proof)-1]},
	} {
		if err := c.refused(try.what, addition{old, try.proof, c.raw}.body(), 422); err != nil {
			return err
		}
	}
	return nil
}

// refuseTheRest tries the rows of the protocol's table on a witness that has this checkpoint.
func (c *client) refuseTheRest(before int64) error {
	strange, forged, err := c.forgeries()
	if err != nil {
		return err
	}
	n := c.tree.N
	// Another root, well-formed: what is not is refused for that.
	spoiled := bytes.Clone(c.raw)
	if last := &spoiled[bytes.LastIndex(spoiled, []byte("\n\n"))-10]; *last == 'A' {
		*last = 'B'
	} else {
		*last = 'A'
	}
	tries := []struct {
		what string
		body []byte
		want int
	}{
		{"another log", addition{0, nil, strange}.body(), 404},
		{"another key under the log's name", addition{n, nil, forged}.body(), 403},
		{"a changed root", addition{n, nil, spoiled}.body(), 403},
		{"an old size above the checkpoint's", addition{n + 1, nil, c.raw}.body(), 400},
		{"old 0, though it has more", addition{0, nil, c.raw}.body(), 409},
		{"a proof between equal sizes", addition{n, tlog.TreeProof{{}}, c.raw}.body(), 422},
		{"64 lines of proof", addition{n, make(tlog.TreeProof, 64), c.raw}.body(), 400},
		{"no old size", append([]byte("\n"), c.raw...), 400},
		{"nothing", nil, 400},
	}
	for _, try := range tries {
		if err := c.refused(try.what, try.body, try.want); err != nil {
			return err
		}
	}
	if before < n {
		return c.refused("the size before", addition{before, nil, c.raw}.body(), 409)
	}
	return nil
}

// forgeries are this checkpoint signed by a stranger, as a log of its own and under this log's name.
func (c *client) forgeries() (strange, forged []byte, err error) {
	text := string(c.raw[:bytes.LastIndex(c.raw, []byte("\n\n"))+1])
	for name, to := range map[string]*[]byte{"stranger.example/log": &strange, c.origin(): &forged} {
		skey, _, err := note.GenerateKey(rand.Reader, name)
		if err != nil {
			return nil, nil, err
		}
		signer, err := note.NewSigner(skey)
		if err != nil {
			return nil, nil, err
		}
		_, rest, _ := strings.Cut(text, "\n")
		if *to, err = note.Sign(&note.Note{Text: name + "\n" + rest}, signer); err != nil {
			return nil, nil, err
		}
	}
	return strange, forged, nil
}

// accepted has torchwood hold the cosigned checkpoint, and a proof under it, against a policy that demands the witness.
func (c *client) accepted(signed []byte) error {
	policy, err := torchwood.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness w %s\ngroup g 1 w\nquorum g\n", c.logVkey, c.key))
	if err != nil {
		return err
	}
	if _, _, err := torchwood.VerifyCheckpoint(signed, policy); err != nil {
		return err
	}
	without := bytes.Join(slices.DeleteFunc(bytes.SplitAfter(signed, []byte("\n")), func(line []byte) bool {
		return bytes.HasPrefix(line, []byte("— "+c.key.Name()+" "))
	}), nil)
	if _, _, err := torchwood.VerifyCheckpoint(without, policy); err == nil {
		return errors.New("a policy that demands the witness takes a checkpoint without its cosignature")
	}
	index := c.tree.N / 2
	path, err := tlog.ProveRecord(c.tree.N, index, c.reader)
	if err != nil {
		return err
	}
	return torchwood.VerifyProof(policy, c.leaves[index], torchwood.FormatProof(index, path, signed))
}

// shown reads what the witness shows to monitors, if it does: the log's own signature, and its cosignature.
func (c *client) shown() error {
	if c.witnessShows == "" {
		return nil
	}
	site := newSite(c.ctx, c.witnessShows)
	raw, err := site.get(fmt.Sprintf("%x/checkpoint", sha256.Sum256([]byte(c.origin()))))
	if err != nil {
		return err
	}
	n, err := note.Open(raw, note.VerifierList(c.logKey, c.key))
	if err != nil {
		return err
	}
	text := c.raw[:bytes.LastIndex(c.raw, []byte("\n\n"))+1]
	if len(n.Sigs) != 2 || n.Text != string(text) {
		return fmt.Errorf("monitors are shown %q, %d signatures known", n.Text, len(n.Sigs))
	}
	status, _, err := site.status(fmt.Sprintf("%x/checkpoint", sha256.Sum256([]byte("stranger.example/log"))))
	if err == nil && status != http.StatusNotFound {
		err = fmt.Errorf("an unknown log's checkpoint: status %d, want 404", status)
	}
	return err
}
