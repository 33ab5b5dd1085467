import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpTimeoutException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletionException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The JDK's HttpClient as it is by default: it prefers HTTP/2, and so offers an upgrade to h2c with
 * each request on a new connection.
 */
public class Client {
  private static final String CHAT = chat("llama3.2", "Hello", true);
  private static final Pattern CONTENT = Pattern.compile("\"content\":\"((?:[^\"\\\\]|\\\\.)*)\"");

  private final HttpClient client = HttpClient.newHttpClient();
  private final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
  private final String url;

  private Client(String url) {
    this.url = url;
  }

  public static void main(String[] args) throws Exception {
    Client client = new Client(args[0]);
    client.get("get");
    client.head("head");
    client.chat("chat");
    client.stream("chat, streamed");
    client.streamAsync("chat, streamed, asynchronous");
    client.notFound("chat, unknown model");
    client.upload("upload without length", "without length".repeat(50_000));
    client.cancel("chat, cancelled before the response");
    client.leave("chat, left in the stream");
    client.timeout("chat, timeout");
    client.get("get afterwards");
  }

  private void get(String name) throws Exception {
    var response = client.send(request("/").build(), BodyHandlers.ofString());
    result(name, response.statusCode() + " " + response.version() + " " + response.body());
  }

  private void head(String name) throws Exception {
    var head = request("/api/tags").method("HEAD", BodyPublishers.noBody()).build();
    var response = client.send(head, BodyHandlers.ofString());
    result(name, response.statusCode() + " " + response.body());
  }

  private void chat(String name) throws Exception {
    var request = post("/api/chat", chat("llama3.2", "Hello", false)).build();
    result(name, content(client.send(request, BodyHandlers.ofString()).body()));
  }

  private void stream(String name) throws Exception {
    var request = post("/api/chat", CHAT).header("X-Fake-Ollama", "hold").build();
    result(name, join(name, client.send(request, BodyHandlers.ofLines()).body()));
  }

  private void streamAsync(String name) {
    var request = post("/api/chat", CHAT).header("X-Fake-Ollama", "hold").build();
    var text =
        client
            .sendAsync(request, BodyHandlers.ofLines())
            .thenApply(HttpResponse::body)
            .thenApply(lines -> join(name, lines));
    result(name, text.join());
  }

  private void notFound(String name) throws Exception {
    var request = post("/api/chat", chat("none", "Hello", true)).build();
    var response = client.send(request, BodyHandlers.ofString());
    result(name, response.statusCode() + " " + response.body());
  }

  private void upload(String name, String text) throws Exception {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    byte[] digest = MessageDigest.getInstance("SHA-256").digest(bytes);
    BodyPublisher stream = BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes));
    var request =
        request("/api/blobs/sha256:" + HexFormat.of().formatHex(digest)).POST(stream).build();
    result(name, client.send(request, BodyHandlers.ofString()).statusCode());
  }

  private void cancel(String name) throws Exception {
    String large = chat("llama3.2", "x".repeat(100_000), true);
    var request = post("/api/chat", large).header("X-Fake-Ollama", "hang").build();
    var response = client.sendAsync(request, BodyHandlers.ofString());
    await(name, "sent");
    response.cancel(true);
    String outcome = "answered";
    try {
      response.join();
    } catch (CancellationException | CompletionException e) {
      // Which of them depends on how far the cancellation has come.
      outcome = "cancelled";
    }
    await(name, "cancelled");
    result(name, outcome);
  }

  private void leave(String name) throws Exception {
    var request = post("/api/chat", CHAT).header("X-Fake-Ollama", "hold").build();
    var body = client.send(request, BodyHandlers.ofInputStream()).body();
    String text;
    try (var reader = new BufferedReader(new InputStreamReader(body, StandardCharsets.UTF_8))) {
      text = content(reader.readLine());
    }
    await(name, "cancelled");
    result(name, text);
  }

  private void timeout(String name) throws Exception {
    var request =
        post("/api/chat", CHAT)
            .header("X-Fake-Ollama", "timeout")
            .timeout(Duration.ofSeconds(1))
            .build();
    String outcome = "answered";
    try {
      client.send(request, BodyHandlers.ofString());
    } catch (HttpTimeoutException e) {
      outcome = e.getClass().getSimpleName();
    }
    await(name, "cancelled");
    result(name, outcome);
  }

  private HttpRequest.Builder request(String path) {
    return HttpRequest.newBuilder(URI.create(url + path));
  }

  private HttpRequest.Builder post(String path, String body) {
    return request(path)
        .header("Content-Type", "application/json")
        .POST(BodyPublishers.ofString(body));
  }

  /** Joins the texts of a stream, and says when the first has come. */
  private static String join(String name, Stream<String> lines) {
    var text = new StringBuilder();
    for (Iterator<String> all = lines.iterator(); all.hasNext(); ) {
      text.append(content(all.next()));
      if (text.length() == 2) {
        event(name, "first");
      }
    }
    return text.toString();
  }

  private static String chat(String model, String content, boolean stream) {
    return """
        {"model": "%s", "messages": [{"role": "user", "content": "%s"}], "stream": %s}"""
        .formatted(model, content, stream);
  }

  /** Returns the text of a message, with JSON's escapes. */
  private static String content(String message) {
    Matcher matcher = CONTENT.matcher(message);
    return matcher.find() ? matcher.group(1) : "";
  }

  /** Reports an event, and waits for a line on standard input. */
  private void await(String name, String event) throws IOException {
    event(name, event);
    input.readLine();
  }

  private static void event(String name, String event) {
    print("{\"case\": \"%s\", \"event\": \"%s\"}".formatted(name, event));
  }

  private static void result(String name, Object result) {
    String text = result.toString().replace("\\", "\\\\").replace("\"", "\\\"");
    print("{\"case\": \"%s\", \"result\": \"%s\"}".formatted(name, text));
  }

  private static void print(String line) {
    var bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
    System.out.write(bytes, 0, bytes.length);
    System.out.flush();
  }
}
