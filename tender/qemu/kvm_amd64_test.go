package qemu

import (
	"bytes"
	"context"
	"os"
	"testing"
)

// TestTheKernelAndQEMUAgreeOnKVM: what the quick look refuses does not work in
// QEMU either.
func TestTheKernelAndQEMUAgreeOnKVM(t *testing.T) {
	quick, slow := executes(t.Context()), works(t.Context(), installed(t), KVM)
	if slow && !quick {
		t.Error("QEMU runs guests on KVM, and the quick look says that this does not work")
	}
	t.Logf("the quick look says %v, QEMU %v", quick, slow)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	executes(ended) // comes back, whatever it says
}

// TestTheQuickLookRunsCode leaves out the instructions that a KVM which only
// emulates cannot do, and looks for the other value too: the machine is right.
func TestTheQuickLookRunsCode(t *testing.T) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs /dev/kvm: ", err)
	}
	f.Close()
	code := probeCode[bytes.IndexByte(probeCode, 0xb8):] // from mov eax, 7
	if !runOnKVM(code) {
		t.Skip("needs a KVM that executes anything at all")
	}
	if other := bytes.Replace(code, []byte{7, 0, 0, 0}, []byte{8, 0, 0, 0}, 1); runOnKVM(other) {
		t.Error("another value was taken for the probe's")
	}
}
