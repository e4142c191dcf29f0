import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writes as many records to each of some topics, given as topic=codec or topic=codec:level, once
 * in small and once in large batches. Prints topic, partition, offset, key and value of each.
 * Producers before 3.8 ignore the level (KIP-390).
 */
public class WriteAll {
    public static void main(String[] args) throws Exception {
        StringBuilder out = new StringBuilder();
        for (int i = 2; i < args.length; i++) {
            String topic = args[i].split("=")[0];
            String[] codec = args[i].split("=")[1].split(":");
            for (int batch : new int[] {16 << 10, 512 << 10}) {
                Properties config = new Properties();
                config.put("bootstrap.servers", args[0]);
                config.put("compression.type", codec[0]);
                if (codec.length > 1) {
                    config.put("compression." + codec[0] + ".level", codec[1]);
                }
                config.put("batch.size", batch);
                config.put("linger.ms", 20);
                write(topic, Integer.parseInt(args[1]), config, out);
            }
        }
        System.out.print(out);
    }

    private static void write(String topic, int count, Properties config, StringBuilder out)
            throws Exception {
        StringSerializer text = new StringSerializer();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(config, text, text)) {
            List<ProducerRecord<String, String>> records = new ArrayList<>();
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int n = 0; n < count; n++) {
                String value = n + ":" + new String(new char[20]).replace("\0", "payload ");
                records.add(new ProducerRecord<>(topic, "k" + n % 7, value));
                sent.add(producer.send(records.get(n)));
            }
            for (int n = 0; n < count; n++) {
                RecordMetadata at = sent.get(n).get();
                out.append(topic).append('\t').append(at.partition()).append('\t')
                    .append(at.offset()).append('\t').append(records.get(n).key()).append('\t')
                    .append(records.get(n).value()).append('\n');
            }
        }
    }
}
