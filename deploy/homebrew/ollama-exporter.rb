# Template: `tools/release.ts formula` fills in what is between @ signs, for a tap.
class OllamaExporter < Formula
  desc "Transparent proxy for Ollama with Prometheus metrics"
  homepage "@HOMEPAGE@"
  version "@VERSION@"
  license "MIT"

  on_macos do
    on_arm do
      url "@URL aarch64-apple-darwin@"
      sha256 "@SHA256 aarch64-apple-darwin@"
    end
    on_intel do
      url "@URL x86_64-apple-darwin@"
      sha256 "@SHA256 x86_64-apple-darwin@"
    end
  end

  on_linux do
    on_arm do
      url "@URL aarch64-unknown-linux-gnu@"
      sha256 "@SHA256 aarch64-unknown-linux-gnu@"
    end
    on_intel do
      url "@URL x86_64-unknown-linux-gnu@"
      sha256 "@SHA256 x86_64-unknown-linux-gnu@"
    end
  end

  def install
    bin.install "ollama-exporter"
    man1.install "man/ollama-exporter.1"
    bash_completion.install "completions/ollama-exporter.bash" => "ollama-exporter"
    zsh_completion.install "completions/_ollama-exporter"
    fish_completion.install "completions/ollama-exporter.fish"
  end

  service do
    run opt_bin/"ollama-exporter"
    environment_variables LISTEN_ADDRESS: "localhost:8000"
    keep_alive true
    error_log_path var/"log/ollama-exporter.log"
  end

  test do
    assert_match "ollama-exporter #{version}", shell_output("#{bin}/ollama-exporter --version")
    ENV["LISTEN_ADDRESS"] = "127.0.0.1:#{free_port}"
    exporter = spawn bin/"ollama-exporter"
    begin
      sleep 5
      assert_match "200", shell_output("#{bin}/ollama-exporter health")
    ensure
      Process.kill "TERM", exporter
      Process.wait exporter
    end
  end
end
