import java.util.Collection;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.common.TopicPartition;

/** Prints what brokers say of a transactional id and of a topic's producers, once nothing of the
 *  id is being ended: "listed", producer id, state; "described", producer id, epoch, state,
 *  partitions of the topic, number of all partitions; and for each producer of partitions 0 to 2:
 *  "producer", partition, producer id, epoch, last sequence, whether it has an open transaction. */
public class DescribeTransactions {
    static TransactionDescription described(Admin admin, String id) throws Exception {
        while (true) {
            TransactionDescription now =
                admin.describeTransactions(List.of(id)).description(id).get();
            if (!now.state().name().startsWith("PREPARE")) {
                return now;
            }
        }
    }

    public static void main(String[] args) throws Exception {
        String id = args[1];
        String topic = args[2];
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        try (Admin admin = Admin.create(config)) {
            TransactionDescription now = described(admin, id);
            List<Integer> parts = now.topicPartitions().stream()
                .filter(at -> at.topic().equals(topic)).map(TopicPartition::partition)
                .sorted().toList();
            System.out.println("described\t" + now.producerId() + "\t" + now.producerEpoch() + "\t"
                + now.state() + "\t" + parts + "\t" + now.topicPartitions().size());
            Collection<TransactionListing> all = admin.listTransactions().all().get();
            for (TransactionListing one : all) {
                if (one.transactionalId().equals(id)) {
                    System.out.println("listed\t" + one.producerId() + "\t" + one.state());
                }
            }
            List<TopicPartition> ask = List.of(new TopicPartition(topic, 0),
                new TopicPartition(topic, 1), new TopicPartition(topic, 2));
            var producers = admin.describeProducers(ask).all().get();
            for (TopicPartition at : ask) {
                for (ProducerState one : producers.get(at).activeProducers()) {
                    System.out.println("producer\t" + at.partition() + "\t" + one.producerId()
                        + "\t" + one.producerEpoch() + "\t" + one.lastSequence() + "\t"
                        + one.currentTransactionStartOffset().isPresent());
                }
            }
        }
    }
}
