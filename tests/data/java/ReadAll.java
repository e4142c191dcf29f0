import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Prints topic, partition, offset, key and value of all records of some topics. */
public class ReadAll {
    public static void main(String[] args) {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("enable.auto.commit", "false");
        StringDeserializer text = new StringDeserializer();
        StringBuilder out = new StringBuilder();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(config, text, text)) {
            List<TopicPartition> all = new ArrayList<>();
            for (int i = 1; i < args.length; i++) {
                for (PartitionInfo at : consumer.partitionsFor(args[i])) {
                    all.add(new TopicPartition(at.topic(), at.partition()));
                }
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            while (all.stream().anyMatch(at -> consumer.position(at) < ends.get(at))) {
                for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(200))) {
                    out.append(r.topic()).append('\t').append(r.partition()).append('\t')
                        .append(r.offset()).append('\t').append(r.key()).append('\t')
                        .append(r.value()).append('\n');
                }
            }
        }
        System.out.print(out);
    }
}
