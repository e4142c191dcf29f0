import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Prints the committed records of a topic: partition, timestamp, length of the key, key, headers,
 *  length of the value and value. */
public class ReadWhole {
    static String text(byte[] bytes) {
        return bytes == null ? "" : new String(bytes, StandardCharsets.UTF_8);
    }

    static int length(byte[] bytes) {
        return bytes == null ? -1 : bytes.length;
    }

    public static void main(String[] args) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("enable.auto.commit", "false");
        config.put("isolation.level", "read_committed");
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        StringBuilder out = new StringBuilder();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config, bytes, bytes)) {
            List<TopicPartition> all = new ArrayList<>();
            consumer.partitionsFor(args[1])
                .forEach(at -> all.add(new TopicPartition(at.topic(), at.partition())));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            while (all.stream().anyMatch(at -> consumer.position(at) < ends.get(at))) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    out.append(r.partition()).append('\t').append(r.timestamp()).append('\t')
                        .append(length(r.key())).append('\t').append(text(r.key())).append('\t');
                    String between = "";
                    for (Header header : r.headers()) {
                        out.append(between).append(header.key()).append('=')
                            .append(text(header.value()));
                        between = ",";
                    }
                    out.append('\t').append(length(r.value())).append('\t').append(text(r.value()))
                        .append('\n');
                }
            }
        }
        PrintStream to = new PrintStream(System.out, false, "UTF-8");
        to.print(out);
        to.flush();
    }
}
